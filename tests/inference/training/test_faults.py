"""Faults: the site and the batch that made a loss not finite are named."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import NonFiniteError, SupportError
from pyrovae.guides import NormalGuide
from pyrovae.inference.training import faults
from pyrovae.inference.training.checkpoint import load
from pyrovae.inference.training.faults import broken_rows, check_weights, explain_loss
from pyrovae.models import VAE, Program, likelihoods, priors
from pyrovae.networks.dense import MLP


class Explodes(VAE):
    """p(x | z) turns NaN wherever the first number of a data point is above 100."""

    def forward(self, x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", self.prior())
            params = self.decoder(z)
            params = params if x is None else torch.where(x[..., :1] > self.bound, torch.nan, params)
            return pyro.sample("x", self.likelihood(params), obs=x)


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_a_nan_in_the_loss_names_site_and_batch_and_leaves_the_last_good_checkpoint(
    tmp_path, table, weights, same_state, equal, quick
):
    data = table()
    last = torch.randperm(200, generator=torch.Generator().manual_seed(0))[-1]  # the first batch is checked before
    data["x"][last, 0] = 1000.0
    likelihood = likelihoods.Normal(6)
    torch.manual_seed(0)
    model = Explodes(priors.StandardNormal(2), likelihood, MLP(2, 6, (8,)))
    guide = NormalGuide(MLP(6, 4, (8,)))
    model.bound = 1e6
    quick(model, guide, data, epochs=1, run=tmp_path)
    good, before = load(tmp_path / "checkpoint.pt"), weights(model, guide)
    model.bound = 100.0
    with pytest.raises(
        NonFiniteError, match=rf"epoch 2, step \d: .*site 'x' of the model is nan at rows \[{int(last)}\] of the data"
    ):
        quick(model, guide, data, epochs=2, run=tmp_path, resume=True)
    assert same_state(load(tmp_path / "checkpoint.pt"), good)
    assert equal(weights(model, guide), before)  # those of the start of the epoch


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_a_gradient_that_is_not_finite_is_named_and_undone(table_pair, table, weights, equal, quick):
    """The loss is finite; after its step the weights would not be."""
    model, guide = table_pair()
    quick(model, guide, table(), epochs=1)
    before, steps = weights(model, guide), []

    def poison(gradient):
        steps.append(1)  # the first one is that of check_pair
        return gradient * torch.nan if len(steps) == 3 else gradient

    weight = guide.encoder.layers[0].weight
    handle = weight.register_hook(poison)
    with pytest.raises(NonFiniteError, match=r"epoch 1, step 3.*encoder.layers.0.weight.*clip_norm=10"):
        quick(model, guide, table(), epochs=1)
    handle.remove()
    assert equal(weights(model, guide), before)


def test_a_nan_in_the_validation_data(table_pair, split, quick):
    data = split()
    data.valid["x"][[3, 7], 1] = torch.nan
    with pytest.raises((NonFiniteError, SupportError), match=r"\[3, 7\]"):
        quick(*table_pair(), data, epochs=3, patience=2)


def test_weights_that_are_not_finite_are_named(table_pair, says):
    model, guide = table_pair()
    check_weights(model, guide, 3)
    with torch.no_grad():
        guide.encoder.layers[0].weight[0, 0] = torch.inf
    with says(NonFiniteError, "epoch 3", "encoder.layers.0.weight", "clip_norm=10"):
        check_weights(model, guide, 3)


def test_a_loss_with_finite_sites_is_put_down_to_its_gradient(table_pair, table, says):
    model, guide = table_pair()
    with says(
        NonFiniteError, "epoch 1, step 2", "rows [4, 3, 2, 1, 0]", "the loss was inf", "a rare draw", "clip_norm=10"
    ):
        rows = torch.arange(5).flip(0)
        explain_loss(model, guide, table(5), rows=rows, data_size=5, where="epoch 1, step 2", loss=torch.inf)


@pytest.mark.parametrize("row", [0, 57, 199])
def test_a_nan_anywhere_in_the_data_is_found_at_the_start(row, table_pair, table, weights, equal, quick, says):
    model, guide = table_pair()
    data, before = table(), weights(model, guide)
    data["x"][row, 2] = torch.nan
    with says(NonFiniteError, "site 'x'", f"rows [{row}] of the", "training data"):
        quick(model, guide, data, epochs=1)
    assert equal(weights(model, guide), before)
    quick(model, guide, data, epochs=1, transform=lambda batch: {"x": batch["x"].nan_to_num()})


def test_a_nan_in_a_condition_is_found_at_the_start(table, quick, says):
    class Shifted(Program):
        """p(z) p(x | z, c)."""

        def __init__(self):
            super().__init__()
            self.decoder = MLP(2, 6, (8,))

        def forward(self, x=None, c=None, *, size=None):
            with pyro.plate("data", len(c) if size is None else size, dim=-1):
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                return pyro.sample("x", dist.Normal(self.decoder(z) + c[:, None], 1.0).to_event(1), obs=x)

    data = table() | {"c": torch.ones(200)}
    data["c"][100] = torch.inf
    with says(NonFiniteError, "fit requires finite training data", "site 'x'", "rows [100] of the data"):
        quick(Shifted(), NormalGuide(MLP(6, 4, (8,))), data, epochs=1)


def test_rows_of_a_large_tensor_are_found_part_by_part(monkeypatch):
    monkeypatch.setattr(faults, "_AT_ONCE", 6)
    x, y = torch.zeros(10, 3), torch.zeros(10, dtype=torch.int64)
    x[7, 1], x[2, 0] = torch.nan, torch.inf
    assert broken_rows({"x": x, "y": y, "none": torch.zeros(10, 0)}).tolist() == [2, 7]


def test_a_parameter_outside_its_range_is_the_cause(table, quick, says):
    class Negative(Program):
        """A guide that lacks softplus."""

        def __init__(self):
            super().__init__()
            self.encoder = MLP(6, 4, (8,))

        def forward(self, x):
            concentration, rate = self.encoder(x).chunk(2, -1)
            with pyro.plate("data", len(x), dim=-1):
                return pyro.sample("z", dist.Gamma(concentration, rate).to_event(1))

    class Rates(Program):
        """p(z) = Gamma(1, 1)^2, p(x | z) = N(net(z), 1)."""

        def __init__(self):
            super().__init__()
            self.decoder = MLP(2, 6, (8,))

        def forward(self, x=None, *, size=None):
            with pyro.plate("data", len(x) if size is None else size, dim=-1):
                z = pyro.sample("z", dist.Gamma(torch.ones(2), 1.0).to_event(1))
                return pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    with says(NonFiniteError, "Gamma requires positive values of its parameter", "softplus(raw)"):
        quick(Rates(), Negative(), table(), epochs=1)
