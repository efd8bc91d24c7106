"""The latent space in a report: what maps and traversals decode."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch

from pyrovae.guides import NormalGuide
from pyrovae.inference import decode, encode
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.report import sections
from pyrovae.report.reported import ReportedPair


def test_traversals_move_one_dimension_and_put_the_informative_ones_first(ppca):
    data = {name: tensor.float() for name, tensor in ppca.data(30).items()}
    loc, weight, covariance = ppca.loc.float(), ppca.weight.float(), ppca.covariance.float()

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z @ weight.T + loc, ppca.scale).to_event(1), obs=x)

    def guide(x):
        mean = (x - loc) @ ppca.regression.float().T * torch.tensor([0.01, 1.0])
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(mean, torch.tensor([1.0, covariance[1, 1].sqrt()])).to_event(1))

    reported = ReportedPair.of(model, guide, data, lambda batch: batch, (), 0)
    found = sections.traversals(reported, "z")
    assert [dim["name"] for dim in found["dims"]] == ["z[1]", "z[0]"]
    assert found["dims"][0]["rate"] > found["dims"][1]["rate"] > -1e-6
    codes, steps = encode(model, guide, data)["z"], len(found["values"][0])
    start, moved = codes[0].clone(), found["values"][0][3]
    start[1] = moved
    shown = torch.tensor(found["album"]["values"][3])
    torch.testing.assert_close(shown, start @ weight.T + loc, rtol=0.02, atol=0.02)
    assert len(found["album"]["values"]) == len(found["bases"]) * 2 * steps


def test_the_map_decodes_the_plane_from_the_top_left(tmp_path, sheet):
    model = VAE(priors.StandardNormal(2), likelihoods.Normal((1, 3, 3), scale=0.5), MLP(2, (1, 3, 3), [5]))
    guide = NormalGuide(MLP((1, 3, 3), 4, [5]))
    data = {"x": torch.rand(20, 1, 3, 3), "y": torch.arange(20) % 3}
    reported = ReportedPair.of(model, guide, data, lambda batch: batch, ("a", "b", "c"), 0)
    found = sections.latent_map(reported, "z")
    assert found["axes"] == ["z[0]", "z[1]"]
    assert found["labels"] == ["a", "b", "c"]
    torch.testing.assert_close(torch.tensor(found["points"]), encode(model, guide, data)["z"], rtol=1e-3, atol=1e-3)
    corner = decode(model, {"z": torch.tensor([[-found["half"], found["half"]]])})[0, 0]
    shown = sheet(found["grid"])[:3, :3] / 255
    camera = reported.camera
    wanted = camera.levels.shown(corner)
    np.testing.assert_allclose(shown, wanted.numpy(), atol=0.01)


def test_maps_and_traversals_decode_codes_of_the_support_alone():
    prior = dist.Gamma(torch.ones(2), 1.0).to_event(1)

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            return pyro.sample("x", dist.Normal(pyro.sample("z", prior), 0.1).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Gamma(1 + x, 1.0).to_event(1))

    reported = ReportedPair.of(model, guide, {"x": torch.rand(30, 2)}, lambda batch: batch, (), 0)
    found = sections.latent_map(reported, "z")
    assert "leaves the support of p(z)" in found["text"]
    for album in (found["grid"], sections.traversals(reported, "z")["album"]):
        assert torch.tensor(album["values"]).min() > 0
