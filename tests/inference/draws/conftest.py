"""Pairs for the tests of draws, and checks of ArviZ's groups and dimensions."""

from collections.abc import Callable
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyrovae.models import Program

IMAGE, SIZE = (1, 4, 3), 6


@pytest.fixture(scope="session")
def covariances():
    """The covariance of draws `(S, N, D)` for each data point, `(N, D, D)`."""

    def covariances(z):
        centred = z - z.mean(0)
        return torch.einsum("snd,sne->nde", centred, centred) / (len(z) - 1)

    return covariances


class OwnPair(NamedTuple):
    model: Callable
    guide: Callable
    data: Callable[[int], dict[str, Tensor]]
    posterior: Callable[[dict[str, Tensor]], tuple[Tensor, Tensor]]
    probs: Tensor
    offsets: Tensor


@pytest.fixture(scope="session")
def own():
    """Two levels u ~ N(0, 1), z ~ N(u, 1), a class that is summed out, three measurements, and a covariate t."""
    probs, offsets = torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([-1.0, 0.0, 1.5]).double()

    def model(t, x=None, *, size=None):
        with pyro.plate("data", len(t) if size is None else size, dim=-1):
            c = pyro.sample("c", dist.Categorical(probs), infer={"enumerate": "parallel"})
            u = pyro.sample("u", dist.Normal(torch.zeros(()).double(), 1.0))
            with pyro.plate("measurements", 3, dim=-2):
                z = pyro.sample("z", dist.Normal(u, 1.0))
                pyro.sample("x", dist.Normal(z + offsets[c] * t, 0.5), obs=None if x is None else x.T)

    def guide(x, t):
        with pyro.plate("data", len(x), dim=-1):
            u = pyro.sample("u", dist.Normal(0.6 * x.mean(-1), 1.1))
            with pyro.plate("measurements", 3, dim=-2):
                pyro.sample("z", dist.Normal(0.7 * x.T + 0.2 * u, 1.2))

    def data(size=8):
        x, t = torch.randn(size, 3).double() + 1, torch.rand(size).double() + 0.5
        return {"x": x, "t": t, "y": torch.arange(size)}

    def posterior(data):
        """E[u | x] and p(c | x), which are exact: given c, x_j = u + noise of variance 1 + 0.25."""
        residual = data["x"].unsqueeze(-1) - offsets * data["t"].reshape(-1, 1, 1)  # (N, 3, classes)
        precision = 1 + 3 / 1.25
        mean = residual.sum(1) / 1.25 / precision  # E[u | x, c], (N, classes)
        joint = dist.MultivariateNormal(torch.zeros(3).double(), 1.25 * torch.eye(3).double() + 1)
        of_class = (joint.log_prob(residual.mT) + probs.log()).softmax(-1)
        return (of_class * mean).sum(-1), of_class

    return OwnPair(model, guide, data, posterior, probs, offsets)


class Regression(Program):
    """x = z + b + noise, with b outside the plate "data", which is subsampled, and a vector w in a plate of its own."""

    def forward(self, x=None, *, size=None, data_size=None):
        rows = len(x) if size is None else size
        with pyro.plate("parts", 3, dim=-1):
            w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        b = pyro.sample("b", dist.Normal(0.0, 2.0))
        b = b + 0 * w.sum((-1, -2)).unsqueeze(-1) if w.dim() > 2 else b + 0 * w.sum()
        with pyro.plate("data", data_size or rows, subsample_size=rows, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            return pyro.sample("x", dist.Normal(z + b, 0.5), obs=x)


@pytest.fixture
def regression():
    """A pair with latents outside the plate "data"."""

    def guide(x, data_size=None):
        with pyro.plate("parts", 3, dim=-1):
            pyro.sample("w", dist.Normal(torch.zeros(2), 0.1).to_event(1))
        b = pyro.sample("b", dist.Normal(0.3, 0.4))
        with pyro.plate("data", data_size or len(x), subsample_size=len(x), dim=-1):
            pyro.sample("z", dist.Normal(b + 0 * x, 0.01))

    return Regression(), guide


@pytest.fixture(scope="session")
def gaussian():
    """p(x | z) of four by three pixels, z of two dimensions, a class, and labels that no program takes."""

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            c = pyro.sample("c", dist.Bernoulli(0.4), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = (z.sum(-1) + c)[..., None, None, None].expand(*(z[..., 0] + c).shape, *IMAGE)
            return pyro.sample("x", dist.Normal(loc, 12.0).to_event(3), obs=x)

    def guide(x):
        loc = 0.4 * x.mean((-1, -2, -3)).unsqueeze(-1).expand(-1, 2)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(loc, 0.9).to_event(1))

    torch.manual_seed(0)
    return model, guide, {"x": torch.randn(SIZE, *IMAGE), "y": torch.arange(SIZE) % 3, "t": torch.rand(SIZE, 2)}


GROUPS = {
    "posterior": {"z": ("chain", "draw", "datum", "z_dim"), "c": ("chain", "draw", "datum")},
    "posterior_predictive": {"x": ("chain", "draw", "datum", "channel", "row", "column")},
    "log_likelihood": {"x": ("chain", "draw", "datum")},
    "sample_stats": {"log_weight": ("chain", "draw", "datum"), "effective_sample_size": ("datum",)},
    "observed_data": {"x": ("datum", "channel", "row", "column")},
    "constant_data": {"y": ("datum",), "t": ("datum", "t_dim")},
}
PRIOR = {"prior": GROUPS["posterior"], "prior_predictive": GROUPS["posterior_predictive"]}


@pytest.fixture(scope="session")
def groups_of():
    """The names of the groups of an object, on either generation of ArviZ."""
    return lambda tree: {name.strip("/") for name in (tree.groups() if callable(tree.groups) else tree.groups)} - {""}


@pytest.fixture(scope="session")
def check(groups_of):
    """Compare groups, names, dimensions, coordinates and values of an object with those of draws of `gaussian`."""

    def check(tree, draws, *, with_prior=False):
        expected = GROUPS | (PRIOR if with_prior else {})
        assert groups_of(tree) == set(expected)
        for group, variables in expected.items():
            dataset = tree[group]
            assert {name: dataset[name].dims for name in dataset.data_vars} == variables
            sizes = dict(dataset.sizes)
            for dim, size in sizes.items():
                assert dataset.coords[dim].values.tolist() == list(range(size))
            assert dataset.attrs["inference_library"] == "pyrovae"
            if "datum" in sizes and not group.startswith("prior"):
                assert dataset.coords["label"].dims == ("datum",)
                assert dataset.coords["label"].values.tolist() == [0, 1, 2, 0, 1, 2]
        for key, array in draws.arrays.items():
            values = torch.from_numpy(tree[key.group][key.name].values)
            assert torch.equal(values.flatten(0, 1) if array.dims[0] == "draw" else values, array.values)

    return check
