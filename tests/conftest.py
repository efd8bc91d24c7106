"""What the tests share: the pairs of the suite, a pair whose p(x) is exact, and how an error is read."""

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyrovae.guides import NormalGuide
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks import MLP, ConvDecoder, ConvEncoder


@pytest.fixture(autouse=True)
def _clean():
    """Each test starts from the same random numbers, and from an empty store of parameters."""
    torch.manual_seed(0)
    pyro.clear_param_store()


@pytest.fixture
def says():
    """pytest.raises whose message must hold every word, in any order."""
    return lambda error, *words: pytest.raises(error, match="".join(f"(?s:(?=.*{re.escape(w)}))" for w in words))


@pytest.fixture
def captured_only(monkeypatch):
    """Replay what was captured, without inductor: quick, and all that differs from case to case."""
    monkeypatch.setattr("pyrovae.inference.compile._lower", lambda captured, *_: captured.module)


# ---------------------------------------------------------------------------------- the pairs of the suite

IMAGE, LATENT, SIZE = (1, 12, 10), 3, 6


class Pair(NamedTuple):
    model: nn.Module
    guide: nn.Module
    batch: dict[str, Tensor]
    latent: dict[str, tuple[int, ...]]  # event shapes by site


def vae(likelihood: likelihoods.Likelihood, *, conv: bool = False) -> Pair:
    if conv:
        encoder, decoder = ConvEncoder(IMAGE, 2 * LATENT, (2, 3)), ConvDecoder(LATENT, likelihood.params_shape, (3, 2))
    else:
        encoder, decoder = MLP(IMAGE, 2 * LATENT, (7,)), MLP(LATENT, likelihood.params_shape, (7,))
    x = torch.rand(SIZE, *IMAGE)
    binary = isinstance(likelihood, likelihoods.Bernoulli) and not likelihood.relaxed
    batch = {"x": x.round() if binary else x}
    return Pair(VAE(priors.StandardNormal(LATENT), likelihood, decoder), NormalGuide(encoder), batch, {"z": (LATENT,)})


# One line each. A pair is built anew by each call, under a fixed seed.
PAIRS: dict[str, Callable[[], Pair]] = {
    "bernoulli": lambda: vae(likelihoods.Bernoulli(IMAGE)),
    "bernoulli-relaxed": lambda: vae(likelihoods.Bernoulli(IMAGE, relaxed=True)),
    "continuous-bernoulli": lambda: vae(likelihoods.ContinuousBernoulli(IMAGE)),
    "normal-fixed": lambda: vae(likelihoods.Normal(IMAGE, scale=0.5)),
    "normal-learned": lambda: vae(likelihoods.Normal(IMAGE, scale="learned")),
    "normal-predicted": lambda: vae(likelihoods.Normal(IMAGE, scale="predicted")),
    "conv-bernoulli": lambda: vae(likelihoods.Bernoulli(IMAGE), conv=True),
    "conv-bernoulli-relaxed": lambda: vae(likelihoods.Bernoulli(IMAGE, relaxed=True), conv=True),
    "conv-continuous-bernoulli": lambda: vae(likelihoods.ContinuousBernoulli(IMAGE), conv=True),
    "conv-normal-fixed": lambda: vae(likelihoods.Normal(IMAGE, scale=0.5), conv=True),
    "conv-normal-learned": lambda: vae(likelihoods.Normal(IMAGE, scale="learned"), conv=True),
    "conv-normal-predicted": lambda: vae(likelihoods.Normal(IMAGE, scale="predicted"), conv=True),
}


@pytest.fixture(params=PAIRS.values(), ids=PAIRS)
def build(request):
    """How one pair of the suite is built; each call gives a pair with other weights."""
    return request.param


@pytest.fixture
def pair(build):
    return build()


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
