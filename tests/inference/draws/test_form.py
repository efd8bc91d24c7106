"""The dimensions of the draws of a site, and the selection of sites by their names and plates."""

from contextlib import nullcontext

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae.errors import PairError
from pyrovae.inference import posterior, prior
from pyrovae.inference.draws.form import Form, selected


def test_sites_and_plates_are_selected(own):
    data = own.data(4)
    for selection, names in (
        (["u"], {"u"}),
        ("measurements", {"z"}),
        (["measurements", "u"], {"z", "u"}),
        ("data", {"c", "u", "z"}),
        ([], set()),
    ):
        assert set(posterior(own.model, own.guide, data, 2, sites=selection).latents) == names
    assert set(prior(own.model, 2, given={"t": data["t"]}, sites=["c"]).latents) == {"c"}


def program():
    """A vector outside the plate "data", a number in it, and a matrix in two more plates."""
    pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("data", 4, dim=-1):
        pyro.sample("u", dist.Normal(0.0, 1.0))
        with pyro.plate("parts", 3, dim=-2), pyro.plate("copies", 5, dim=-3):
            pyro.sample("z", dist.Normal(torch.zeros(2, 6), 1.0).to_event(2))


@pytest.mark.parametrize("num_samples", [1, 7])
def test_the_dimensions_of_a_site(num_samples):
    alone = poutine.trace(program).get_trace()
    with pyro.plate("samples", num_samples, dim=-4) if num_samples > 1 else nullcontext():
        drawn = poutine.trace(program).get_trace()
    for name, dims, shape in (
        ("b", ("b_dim",), (1, 2)),
        ("z", ("datum", "copies", "parts", "z_row", "z_column"), (4, 5, 3, 2, 6)),
        ("u", ("datum",), (4,)),
    ):
        form, value = Form.of(alone.nodes[name], 3), drawn.nodes[name]["value"]
        packed = form.pack(value, num_samples, 4)
        assert (form.dims(name), packed.shape) == (dims, (num_samples, *shape))
        assert torch.equal(form.unpack(packed).reshape(-1), value.reshape(-1))
        torch.testing.assert_close(form.pack(form.unpack(packed), num_samples, 4), packed)
    assert Form.of(alone.nodes["z"], 3).all_plates == ["data", "copies", "parts"]


def test_a_name_that_is_no_site(says):
    forms = {"z": Form((("parts", 3),), (2,), False)}
    assert selected(None, forms) == selected("data", forms) == selected(["z", "parts"], forms) == ["z"]
    with says(PairError, "'w'", "sites 'z'", "plates 'data', 'parts'"):
        selected(["w"], forms)
