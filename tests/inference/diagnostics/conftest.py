"""What the tests of diagnostics share."""

import pyro
import pyro.distributions as dist
import pytest
import torch


@pytest.fixture
def two_dimensions():
    """Builds a pair in which z1 copies x and z2 ignores it, from the scale of q(z1 | x)."""
    return _two_dimensions


def _two_dimensions(scale):
    """q(z1 | x) = Normal(x, scale), q(z2 | x) = p(z2) = Normal(0, 1)."""

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z[..., :1], 1.0).to_event(1), obs=x)

    def guide(x):
        loc = torch.cat([x, torch.zeros_like(x)], -1)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(loc, torch.tensor([scale, 1.0])).to_event(1))

    return model, guide


@pytest.fixture
def shows_bar(capsys):
    """Tells whether a progress bar that counts in a unit was printed since the last call."""

    def shown(unit):
        printed = capsys.readouterr().err
        return f"{unit}/s" in printed or f"s/{unit}" in printed

    return shown
