"""A pair has no scales of its own: KL weights belong to the objective."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO

from pyrovae.errors import PairError
from pyrovae.inference import ELBO, SVI, fit
from pyrovae.inference.pair import check_pair
from pyrovae.models import Program


class Scaled(Program):
    """p(z) p(x | z), whose site x or z counts `scale` times."""

    def __init__(self, site, scale):
        super().__init__()
        self.scales = {site: scale}
        self.decoder = torch.nn.Linear(2, 3)

    def forward(self, x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            with poutine.scale(scale=self.scales.get("z", 1.0)):
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            with poutine.scale(scale=self.scales.get("x", 1.0)):
                return pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)


@pytest.mark.parametrize(
    ("site", "scale", "words"),
    [
        ("x", 0.1, ("the scale 0.1", "kl_weight=10")),
        ("z", 4.0, ("the scale 4", "kl_weight=4")),
        ("x", torch.tensor(0.5), ("a tensor", "kl_weight=beta")),
    ],
)
def test_a_scaled_site_is_named_with_the_line(site, scale, words, guide, batch, says):
    with says(PairError, f"at site '{site}' of the model", "poutine.scale", *words):
        check_pair(Scaled(site, scale), guide, batch)


def test_a_scale_of_the_guide(model, guide, batch, says):
    with says(PairError, "at site 'z' of the guide", "the scale 0.5"):
        check_pair(model, poutine.scale(guide, 0.5), batch)


def test_fit_refuses_a_scale_but_with_a_loss_of_pyros(guide, batch, says):
    settings = {"epochs": 1, "progress": False, "compile": False, "device": "cpu"}
    for loss in (None, ELBO()):
        with says(PairError, "the scale 0.1 at site 'x'"):
            fit(Scaled("x", 0.1), guide, batch, loss=loss, **settings)
    fit(Scaled("x", 0.1), guide, batch, loss=Trace_ELBO(), **settings)


def test_svi_trains_a_scaled_pair(guide, batch):
    losses = []
    for scale in (1.0, 0.1):
        torch.manual_seed(0)
        losses.append(SVI(Scaled("x", scale), guide, torch.optim.Adam, Trace_ELBO(), compile=False).step(batch["x"]))
    assert losses[1] < losses[0]


def test_masks_and_subsampled_plates_are_no_scales_of_its_own(model, guide, batch):
    mask = torch.arange(8) < 5
    check_pair(lambda x=None, *, size=None: _masked(model, mask, x, size), guide, batch)

    def several(x=None, data_size=8, *, size=None):
        rows = len(x) if size is None else size
        with pyro.plate("data", max(data_size, rows), subsample_size=rows, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            return pyro.sample(
                "x", dist.Normal(z.sum(-1, keepdim=True).expand(*z.shape[:-1], 3), 1.0).to_event(1), obs=x
            )

    def guide_of_several(x, data_size=8):
        with pyro.plate("data", data_size, subsample_size=len(x), dim=-1):
            return pyro.sample("z", dist.Normal(x[..., :2], 1.0).to_event(1))

    check_pair(several, guide_of_several, batch, data_size=80)


def _masked(model, mask, x, size):
    rows = len(x) if size is None else size
    with poutine.mask(mask=mask[:rows]):
        return model(x, size=size)
