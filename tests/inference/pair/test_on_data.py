"""A pair on its data: the run that comes first, draws in chunks, and parts that draw what they draw alone."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.errors import PairError
from pyrovae.inference.pair.on_data import by_dimension, given, is_point, on_data
from pyrovae.inference.pair.running import unchanged
from pyrovae.inference.pair.scoring import Layout
from pyrovae.inference.pair.tracing import sites

SIZE = 7


@pytest.fixture
def opened(ppca):
    """Opens the linear-Gaussian pair on seven data points, with a guide whose weights vary."""
    data = ppca.data(SIZE)

    def opened(**options):
        return on_data("evaluate", ppca.model, ppca.guide(0.3, 1.4), data, **options)

    return opened


def weights(pair, num_samples):
    """The log-weights of all data points."""
    parts = [torch.cat([draws.terms.log_weight for draws in chunk]) for _, chunk in pair.chunks(num_samples)]
    return torch.cat(parts, 1)


# ------------------------------------------------------------------------------------------ the prologue


def test_what_is_opened(ppca, opened):
    with opened() as pair:
        assert (pair.size, pair.device.type, pair.layout) == (SIZE, "cpu", Layout(1, False))
        assert torch.equal(pair.first["x"], pair.data["x"][:2])
        assert set(pair.traces.latent()) == {"z"}
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def test_modules_are_in_evaluation_mode_inside(model):
    class Guide(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def forward(self, x):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(self.dropout(x[:, :2]), 1.0).to_event(1))

    guide = Guide()
    with on_data("evaluate", model, guide, {"x": torch.rand(4, 3)}):
        assert not guide.dropout.training
    assert guide.dropout.training


def test_the_seed_decides_and_the_global_state_stays(opened):
    before = torch.get_rng_state()
    numbers = []
    for seed in (0, 0, 1):
        with opened(seed=seed) as pair:
            numbers.append(weights(pair, 3))
    assert torch.equal(numbers[0], numbers[1])
    assert not torch.equal(numbers[0], numbers[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_bytes_are_scaled_by_default(model, guide):
    data = {"x": torch.full((4, 3), 255, dtype=torch.uint8)}
    with on_data("evaluate", model, guide, data) as pair:
        assert (pair.first["x"] == 1).all()
        assert (pair.place(slice(2, 4))["x"] == 1).all()
    with on_data("evaluate", model, lambda x: guide(x.float()), data, unchanged) as pair:
        assert pair.first["x"].dtype == torch.uint8


def test_no_data(model, guide, says):
    empty = {"x": torch.zeros(0, 3)}
    with says(PairError, "sandwich requires data points", "empty batch"), on_data("sandwich", model, guide, empty):
        pass


def test_a_latent_that_nothing_draws(model, says):
    with says(PairError, "latent 'z'"), on_data("evaluate", model, lambda x: None, {"x": torch.zeros(4, 3)}):
        pass


# ---------------------------------------------------------------------------------------- random numbers


def test_after_rewind_a_part_draws_what_it_draws_alone(opened):
    with opened() as pair:
        alone = weights(pair, 5)
    with opened() as pair:
        first = weights(pair, 2)
        following = weights(pair, 5)
        pair.rewind()
        assert torch.equal(weights(pair, 5), alone)
    assert not torch.equal(following, alone)
    assert first.shape == (2, SIZE)


def test_a_random_transform_is_under_the_seed(ppca):
    def noisy(batch):
        return {"x": batch["x"] + torch.rand_like(batch["x"])}

    def draw():
        with on_data("evaluate", ppca.model, ppca.guide(), ppca.data(4), noisy) as pair:
            return torch.cat([batch["x"] for _, batch in pair.batches(3)])

    torch.manual_seed(0)
    one = draw()
    torch.manual_seed(0)
    assert torch.equal(draw(), one)


# ------------------------------------------------------------------------------------------------ chunks


@pytest.mark.parametrize("memory", [1, 64 * 128 * 3, 2**28])
def test_chunks_cover_all_draws_of_all_data(opened, memory):
    with opened(memory=memory) as pair:
        where, shapes = [], []
        for rows, chunk in pair.chunks(4):
            where += range(SIZE)[rows]
            shapes.append(torch.cat([draws.terms.log_weight for draws in chunk]).shape)
    assert where == list(range(SIZE))
    assert all(shape[0] == 4 for shape in shapes)
    assert sum(shape[1] for shape in shapes) == SIZE


def test_batches_come_with_their_rows(opened):
    with opened() as pair:
        for rows, batch in pair.batches(3):
            assert torch.equal(batch["x"], pair.data["x"][rows])
        assert rows == slice(6, 7)
        assert torch.equal(pair.place(torch.tensor([4, 1]))["x"], pair.data["x"][[4, 1]])


def test_draws_of_another_guide(ppca, opened):
    with opened() as pair:
        own = pair.score(pair.first, 3)
        exact = pair.score(pair.first, 3, ppca.guide()).terms.log_weight
    assert own.pair.guide.nodes["z"]["value"].shape == (3, 2, 2)
    assert own.terms.log_weight.std(0).min() > 0.01
    torch.testing.assert_close(exact, ppca.evidence.log_prob(pair.first["x"]).expand(3, 2))


def test_the_pair_knows_the_size_of_the_data(guide):
    sizes = []

    def model(x, data_size):
        sizes.append((len(x), data_size))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(0.0, 1.0).expand((3,)).to_event(1), obs=x)

    with on_data("evaluate", model, guide, {"x": torch.zeros(9, 3)}) as pair:
        pair.score(pair.place(slice(4)), 1)
    assert {size for _, size in sizes} == {9}
    assert sizes[-1] == (4, 9)


def test_narrowed(opened):
    with opened() as pair:
        few = pair.narrowed(3)
        assert few.size == len(few.data["x"]) == 3
        assert weights(few, 2).shape == (2, 3)
        assert pair.narrowed(100).size == SIZE
        assert few.layout == pair.layout


# ------------------------------------------------------------------------------------------- what is given


def test_what_is_given_is_at_no_site():
    def model(x, y, k=None):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("k", dist.Bernoulli(0.5), obs=k)
            pyro.sample("x", dist.Normal(y, 1.0), obs=x)

    batch = {"x": torch.zeros(4), "y": torch.ones(4), "k": torch.zeros(4), "unused": torch.zeros(4)}
    with on_data("evaluate", model, lambda x: None, batch) as pair:
        assert set(pair.given(batch)) == {"y", "unused"}
        assert pair.given(batch)["y"] is batch["y"]
        assert set(given(pair.traces, {"x": batch["x"]})) == set()


# ------------------------------------------------------------------------------------------ requirements


def shared(x):
    w = pyro.sample("w", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("x", dist.Normal(w, 1.0), obs=x)


def shared_guide(x):
    pyro.sample("w", dist.Normal(0.0, 1.0))


def test_weights_require_independent_data_points(opened, says):
    with on_data("evaluate", shared, shared_guide, {"x": torch.zeros(4)}) as pair:
        with says(PairError, "outside the plate 'data'", "pyro.condition"):
            pair.require_independent()
        with says(PairError, "outside the plate 'data'"):
            pair.require_weights()
    with opened() as pair:
        pair.require_independent()
        pair.require_weights()


def test_weights_require_a_density(model, says):
    def point(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Delta(x[:, :2]).to_event(1))

    with on_data("evaluate", model, point, {"x": torch.zeros(4, 3)}) as pair:
        assert is_point(sites(pair.traces.guide)["z"])
        assert not is_point(sites(pair.traces.model)["z"])
        pair.require_independent()
        with says(PairError, "requires a density", "guide's site 'z'", "point mass"):
            pair.require_weights()


# ---------------------------------------------------------------------------------------------- dimensions


def test_dimensions_of_events_and_inner_plates():
    with pyro.poutine.trace() as tracer, pyro.plate("samples", 5, dim=-3), pyro.plate("data", 4, dim=-1):
        pyro.sample("label", dist.Bernoulli(0.5))
        pyro.sample("event", dist.Normal(torch.zeros(2, 3), 1.0).to_event(2))
        with pyro.plate("columns", 6, dim=-2):
            pyro.sample("inner", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    drawn = {name: sites(tracer.trace)[name] for name in ("label", "event", "inner")}
    found = {name: by_dimension(site["value"], site, (5, 4), 2) for name, site in drawn.items()}
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "label": (5, 4, 1),
        "event": (5, 4, 6),
        "inner": (5, 4, 12),
    }
    assert torch.equal(found["event"], drawn["event"]["value"].reshape(5, 4, 6))
    assert torch.equal(found["inner"], drawn["inner"]["value"].transpose(1, 2).reshape(5, 4, 12))


def test_a_value_that_is_the_same_for_all_draws():
    with pyro.poutine.trace() as tracer, pyro.plate("data", 4, dim=-1):
        pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    site = sites(tracer.trace)["z"]
    assert torch.equal(by_dimension(site["value"], site, (5, 4), 1), site["value"].expand(5, 4, 2))
