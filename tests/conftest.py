"""Fixtures of all tests: the pairs of the suite, a pair whose p(x) is exact, and the words of an error."""

import os
import re
from collections.abc import Callable
from functools import partial, partialmethod

import pyro
import pyro.distributions as dist
import pytest
import torch
from built_pairs import PAIRS, REPRESENTATIVE
from torch import Tensor

from pyrovae.inference import SVI

# `make test` sets this for the workers. Scripts that tests run need their own folder on Python's path.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("PYTHONSAFEPATH", None)


@pytest.fixture(autouse=True)
def _clean():
    """Each test starts from the same random numbers, and from an empty store of parameters."""
    torch.manual_seed(0)
    pyro.clear_param_store()


@pytest.fixture
def at_once(monkeypatch):
    """SVI compiles at the second step of a signature, unless told otherwise."""
    monkeypatch.setattr(SVI, "__init__", partialmethod(SVI.__init__, compile=True))


@pytest.fixture
def says():
    """Like pytest.raises, for a message that contains all of some words, in any order."""
    return lambda error, *words: pytest.raises(error, match="".join(f"(?s:(?=.*{re.escape(w)}))" for w in words))


@pytest.fixture
def captured_only(monkeypatch, at_once):
    """Replay the captured graph without inductor: quick, and only the capture differs from pair to pair."""
    monkeypatch.setattr("pyrovae.inference.compile.compiled.lower", lambda captured, *_: captured.module)


@pytest.fixture(params=PAIRS.values(), ids=PAIRS)
def build(request):
    """How each pair of the suite is built; every call returns a pair with other weights."""
    return request.param


@pytest.fixture
def pair(build):
    """Each pair of the suite, for the contract of pairs."""
    return build()


@pytest.fixture
def all_pairs():
    """How each pair of the suite is built, by name."""
    return PAIRS


@pytest.fixture(params=REPRESENTATIVE)
def representative(request):
    """Each of the representative pairs, for tools that work on any pair."""
    return PAIRS[request.param]()


# ------------------------------------------------------------------- probabilistic PCA, where all is exact


class LinearGaussian:
    """p(z) = Normal(0, I), p(x | z) = Normal(x; W z + mu, scale^2 I), so p(x) and p(z | x) are normal.

    References: Tipping & Bishop (1999), Probabilistic principal component analysis.
    """

    def __init__(self, dim: int = 5, latent: int = 2, scale: float = 0.6, seed: int = 0) -> None:
        draw = partial(torch.randn, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.weight, self.loc, self.scale = draw(dim, latent), draw(dim), scale
        precision = torch.eye(latent).double() + self.weight.T @ self.weight / scale**2
        self.covariance = precision.inverse()  # of p(z | x)
        self.regression = self.covariance @ self.weight.T / scale**2  # E[z | x] = regression (x - mu)
        self.evidence = dist.MultivariateNormal(
            self.loc, self.weight @ self.weight.T + scale**2 * torch.eye(dim).double()
        )

    def data(self, size: int) -> dict[str, Tensor]:
        return {"x": self.evidence.sample((size,))}

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.weight.T + self.loc

    def posterior_mean(self, x: Tensor) -> Tensor:
        return (x - self.loc) @ self.regression.T

    def model(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        with pyro.plate("data", size or len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(self.loc.new_zeros(self.weight.shape[1]), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(self.decode(z), self.scale).to_event(1), obs=x)

    def guide(self, shift: Tensor | float = 0.0, stretch: float = 1.0) -> Callable[..., Tensor]:
        """The exact posterior, or one whose mean is shifted and whose scale is stretched."""
        tril = torch.linalg.cholesky(self.covariance) * stretch

        def guide(x: Tensor) -> Tensor:
            with pyro.plate("data", len(x), dim=-1):
                return pyro.sample("z", dist.MultivariateNormal(self.posterior_mean(x) + shift, scale_tril=tril))

        return guide


@pytest.fixture(scope="session")
def ppca():
    return LinearGaussian()
