"""The contract that the README prints: each break of it is named by check_pair, and what is legal passes."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn

from pyrovae.errors import PairError
from pyrovae.inference import calibration, check_pair, decode, evaluate, fit, generate, prior

SIZE, LATENT, DIM = 6, 2, 3


def normal(loc):
    return dist.Normal(loc, 1.0).to_event(1)


def data_plate(x, size=None):
    return pyro.plate("data", len(x) if size is None else size, dim=-1)


def decoded(z):
    return z.sum(-1, keepdim=True).expand(*z.shape[:-1], DIM)


def good(x=None, *, size=None):
    with data_plate(x, size):
        z = pyro.sample("z", normal(torch.zeros(LATENT)))
        return pyro.sample("x", normal(decoded(z)), obs=x)


def good_guide(x):
    with data_plate(x):
        return pyro.sample("z", normal(x[..., :LATENT]))


@pytest.fixture
def batch():
    return {"x": torch.randn(SIZE, DIM)}


def scored(z, x=None, name="x"):
    return pyro.sample(name, normal(decoded(z)), obs=x)


# ------------------------------------------------------------------------- names of arguments, tensors and sites


def images_at_x(images=None, *, size=None):
    return good(images, size=size)


def images_guide(images):
    return good_guide(images)


def test_an_argument_with_another_name_than_its_site(batch, says):
    for data in ({"images": batch["x"]}, {"images": batch["x"], **batch}):
        with says(PairError, "argument 'images' at the site 'x'", "def model(x=None, *, size=None)", '{"x": images}'):
            check_pair(images_at_x, images_guide, data)


def test_an_argument_that_is_reshaped_for_a_site_of_another_name(says):
    """As in Pyro's tutorial of the VAE."""

    def model(x=None, *, size=None):
        with data_plate(x, size):
            z = pyro.sample("z", normal(torch.zeros(LATENT)))
            loc = z.sum(-1, keepdim=True).expand(*z.shape[:-1], 6)
            return pyro.sample("obs", dist.Normal(loc, 1.0).to_event(1), obs=None if x is None else x.reshape(-1, 6))

    def guide(x):
        with data_plate(x):
            pyro.sample("z", normal(x[..., 0, :LATENT]))

    with says(PairError, "argument 'x' at the site 'obs'", 'name the site "x"'):
        check_pair(model, guide, {"x": torch.randn(SIZE, 2, 3)})


def test_a_batch_of_two_or_one(batch):
    for size in (1, 2, 3):
        check_pair(good, good_guide, {"x": batch["x"][:size]})


def test_an_argument_with_another_name_than_its_tensor(batch, says):
    with says(PairError, "name of a tensor of the data, 'x'", "'images', 'size'", "def model(x=None, *, size=None)"):
        check_pair(images_at_x, good_guide, batch)
    with says(PairError, "images_at_x requires tensors", "none for 'images'"):
        evaluate(images_at_x, good_guide, batch)


def test_a_second_argument_without_a_tensor(batch, says):
    def model(x=None, offset=None, *, size=None):
        with data_plate(x, size):
            z = pyro.sample("z", normal(torch.zeros(LATENT) + offset))
            return scored(z, x)

    with says(PairError, "got 'x' and none for 'offset'"):
        check_pair(model, good_guide, batch)


def test_data_without_the_tensor_of_the_pair(batch, says):
    with says(PairError, "name of a tensor of the data, 'y'", "'x', 'size'"):
        check_pair(good, good_guide, {"y": batch["x"]})


def test_a_tensor_whose_site_is_not_observed(batch, says):
    def model(x=None, w=None, *, size=None):
        with data_plate(x, size):
            z = pyro.sample("z", normal(torch.zeros(LATENT)))
            w = pyro.sample("w", normal(z))
            return scored(w, x)

    def guide(x):
        with data_plate(x):
            pyro.sample("z", normal(x[..., :LATENT]))
            pyro.sample("w", normal(x[..., :LATENT]))

    with says(PairError, "site 'w' requires the tensor 'w'", "Write obs=w"):
        check_pair(model, guide, {**batch, "w": torch.randn(SIZE, LATENT)})
    check_pair(model, guide, batch)


def test_other_names_than_x_are_legal(batch):
    def model(images=None, *, size=None):
        with data_plate(images, size):
            return scored(pyro.sample("z", normal(torch.zeros(LATENT))), images, "images")

    data = {"images": batch["x"]}
    check_pair(model, images_guide, data)
    assert evaluate(model, images_guide, data, num_samples=2).elbo.value < 0
    assert generate(model, 2, site="images").shape == (2, DIM)


def test_a_factor_and_a_constant_observation_are_legal(batch):
    def model(x=None, *, size=None):
        with data_plate(x, size):
            z = pyro.sample("z", normal(torch.zeros(LATENT)))
            pyro.factor("penalty", -z.square().sum(-1))
            pyro.sample("near", normal(z), obs=torch.zeros_like(z))
            return scored(z, x)

    check_pair(model, good_guide, batch)


# ----------------------------------------------------------------------------------------------------- the plate


def in_plate(plate, guide_plate=data_plate):
    """A pair whose plates are those, functions of x and size."""

    def model(x=None, *, size=None):
        with plate(x, size):
            return scored(pyro.sample("z", normal(torch.zeros(LATENT))), x)

    def guide(x):
        with guide_plate(x):
            pyro.sample("z", normal(x[..., :LATENT]))

    return model, guide


def twice(x, size=None):
    size = len(x) if size is None else size
    return pyro.plate("data", 2 * size, subsample_size=size, dim=-1)


def wider(x, size=None):
    return pyro.plate("data", 2 * len(x) if size is None else size, dim=-1)


@pytest.mark.parametrize("plates", [(twice, twice), (twice,), (data_plate, twice), (wider,)], ids=range(4))
def test_a_plate_of_another_size_multiplies_the_loss(plates, batch, says):
    """Pyro's loss is that of the plate's size; ours is of the batch, so each tool refuses the pair."""
    model, guide = in_plate(*plates)
    for tool in (check_pair, evaluate):
        with says(PairError, "requires the plate 'data' of size", "multiplies its log-probability by 2", "len(x)"):
            tool(model, guide, batch)
    with says(PairError, "requires the plate 'data' of size 6", "one of 12"):
        fit(model, guide, batch, epochs=1, device="cpu", progress=False)


def test_a_plate_of_a_fixed_size(batch, says):
    model, guide = in_plate(lambda x, size=None: pyro.plate("data", SIZE, dim=-1))
    with says(PairError, "as many data points as its argument size says, 2, got 6 at site 'x'"):
        check_pair(model, guide, batch)
    with says(PairError, "argument size says, 4, got 6 at site 'x'"):
        generate(model, 4)


def named(name, dim=-1):
    return lambda x, size=None: pyro.plate(name, len(x) if size is None else size, dim=dim)


@pytest.mark.parametrize("plates", [(named("batch"), named("batch")), (named("batch"),), (data_plate, named("batch"))])
def test_a_plate_with_another_name(plates, batch, says):
    with says(PairError, "outside the plate 'data'", "['batch']", 'pyro.plate("data", 6, dim=-1)'):
        check_pair(*in_plate(*plates), batch)


def test_evaluate_refuses_observed_sites_outside_the_plate(batch, says):
    with says(PairError, "site 'x' outside the plate 'data'", "['batch']"):
        evaluate(*in_plate(named("batch"), named("batch")), batch)


def test_a_plate_at_another_dimension_and_a_loop(batch, says):
    def loop(x=None, *, size=None):
        for i in pyro.plate("data", len(x) if size is None else size):
            scored(pyro.sample(f"z{i}", normal(torch.zeros(LATENT))), None if x is None else x[i], f"x{i}")

    def loop_guide(x):
        for i in pyro.plate("data", len(x)):
            pyro.sample(f"z{i}", normal(x[i, :LATENT]))

    for tool in (check_pair, evaluate):
        with says(PairError, "dim -2", "dim=-1"):
            tool(*in_plate(named("data", -2), lambda x: pyro.plate("data", len(x), dim=-2)), batch)
        with says(PairError, "dim None", "dim=-1"):
            tool(loop, loop_guide, batch)


def test_a_subsample_of_all_data_points_is_legal_where_the_program_knows_their_number(batch, says):
    def whole(x, size=None, data_size=None):
        size = len(x) if size is None else size
        return pyro.plate("data", data_size or size, subsample_size=size, dim=-1)

    def model(x=None, *, size=None, data_size=None):
        with whole(x, size, data_size):
            return scored(pyro.sample("z", normal(torch.zeros(LATENT))), x)

    def guide(x, data_size=None):
        with whole(x, None, data_size):
            pyro.sample("z", normal(x[..., :LATENT]))

    check_pair(model, guide, batch)
    check_pair(model, guide, batch, data_size=60)
    assert evaluate(model, guide, batch, num_samples=2).elbo.value < 0
    with says(PairError, "one of 60 data points"):
        check_pair(lambda x=None, *, size=None: model(x, size=size, data_size=60), guide, batch, data_size=6)


# ----------------------------------------------------------------------------------------------- generation


def no_size(x):
    return good(x)


def x_required(x, *, size=None):
    return good(x, size=size)


def length_of_x(x=None, *, size=None):
    with data_plate(x):
        return scored(pyro.sample("z", normal(torch.zeros(LATENT))), x)


def observes_zeros(x=None, *, size=None):
    return good(torch.zeros(size, DIM) if x is None else x)


def other_shape(x=None, *, size=None):
    with data_plate(x, size):
        loc = decoded(pyro.sample("z", normal(torch.zeros(LATENT))))
        return pyro.sample("x", normal(loc if x is not None else loc[..., :2]), obs=x)


def other_site(x=None, *, size=None):
    with data_plate(x, size):
        z = pyro.sample("z", normal(torch.zeros(LATENT)))
        return scored(z, x, "x" if x is not None else "new")


BREAKS = {
    no_size: ["requires a model with an argument size", "def model(x=None, *, size=None)"],
    x_required: ["runs without data", "x_required requires 'x'", "def model(x=None, *, size=None)"],
    length_of_x: ["runs without data", "model(size=2)", "NoneType", "size is None"],
    observes_zeros: ["draws 'x' where it gets no data", "an observed site", "obs=x"],
    other_shape: ["generates what it scores", "(3,)", "(2,)", "site 'x'"],
    other_site: ["draws 'x' where it gets no data", "'z', 'new'"],
}


@pytest.mark.parametrize("model", BREAKS, ids=lambda model: model.__name__)
def test_a_model_that_does_not_generate_what_it_scores(model, batch, says):
    with says(PairError, *BREAKS[model]):
        check_pair(model, good_guide, batch)
    with says(PairError, *BREAKS[model]):
        fit(model, good_guide, batch, epochs=1, device="cpu", progress=False)
    assert evaluate(model, good_guide, batch, num_samples=2).elbo.value < 0  # it scores


@pytest.mark.parametrize("model", [no_size, x_required, length_of_x], ids=lambda model: model.__name__)
def test_tools_that_generate_name_the_line(model, batch, says):
    tools = {
        "generate": lambda: generate(model, 4),
        "prior": lambda: prior(model, 4),
        "calibration": lambda: calibration(model, good_guide, num_simulations=25),
        "decode": lambda: decode(model, {"z": torch.zeros(4, LATENT)}),
    }
    for tool in tools.values():
        with says(PairError, "def model(x=None, *, size=None)"):
            tool()


def test_a_conditional_model_may_take_its_size_from_what_it_conditions_on(batch):
    def model(y, x=None, *, size=None):
        with data_plate(y):
            return scored(pyro.sample("z", normal(torch.zeros(LATENT) + y.unsqueeze(-1))), x)

    data = {**batch, "y": torch.randn(SIZE)}
    check_pair(model, good_guide, data)
    assert generate(model, 2, given={"y": torch.zeros(2)}).shape == (2, DIM)


def test_sequences_may_be_longer_than_those_of_the_batch():
    def model(x=None, *, size=None):
        with data_plate(x, size):
            z = pyro.sample("z", normal(torch.zeros(LATENT)))
            loc = z.sum(-1, keepdim=True).unsqueeze(-1).expand(*z.shape[:-1], 9 if x is None else x.shape[-2], 2)
            return pyro.sample("x", dist.Normal(loc, 1.0).to_event(2), obs=x)

    def guide(x):
        with data_plate(x):
            pyro.sample("z", normal(x[..., 0, :]))

    check_pair(model, guide, {"x": torch.randn(SIZE, 4, 2)})


# ----------------------------------------------------------------------------------------------- leading dimensions


class Flat(nn.Module):
    """A model whose decoder reads the first dimension as the batch."""

    def forward(self, x=None, *, size=None):
        with data_plate(x, size):
            z = pyro.sample("z", normal(torch.zeros(LATENT)))
            return scored(z.reshape(-1, LATENT), x)


def test_a_network_that_flattens_leading_dimensions(batch, says):
    for tool in (check_pair, evaluate):
        with says(PairError, "run with 2 draws", "after site 'z'", "flatten the leading dimensions"):
            tool(Flat(), good_guide, batch)


def test_an_encoder_may_flatten_data(batch):
    def guide(x):
        with data_plate(x):
            pyro.sample("z", normal(x.view(len(x), -1)[:, :LATENT]))

    check_pair(good, guide, batch)


# ----------------------------------------------------------------------------------------------- what else is legal


def test_a_guide_that_ignores_the_data_is_legal(batch):
    """It is one distribution for all data points, and its ELBO is a bound."""

    def guide(x):
        with data_plate(x):
            pyro.sample("z", normal(torch.zeros(LATENT)))

    check_pair(good, guide, batch)


def test_pyros_own_programs_train_by_svi():
    """A program of Pyro's tutorials: no `size`, and a decoder for single draws."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", normal(torch.zeros(LATENT)))
            pyro.sample("obs", normal(pyro.param("w", torch.zeros(1)) + decoded(z.reshape(-1, LATENT))), obs=x)

    from pyrovae.inference import SVI as Ours

    x = torch.randn(SIZE, DIM)
    losses = []
    for engine in (SVI, Ours):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        losses.append(engine(model, good_guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO()).step(x))
    assert losses[0] == pytest.approx(float(losses[1]))
