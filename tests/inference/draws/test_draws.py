"""How draws print, and the names of their dimensions."""

import pyro
import pyro.distributions as dist

from pyrovae.inference import posterior, posterior_predictive, prior_predictive
from pyrovae.inference.draws.draws import event_dims


def test_how_draws_print(gaussian, tmp_path):
    text = repr(posterior_predictive(*gaussian, 40, corrected=True, out=tmp_path / "draws.nc"))
    lines = text.splitlines()
    assert lines[0] == f"40 corrected posterior draws of 6 data points, in {tmp_path / 'draws.nc'}"
    assert any(line.split()[:2] == ["posterior", "z"] and "(draw 40, datum 6, z_dim 2)" in line for line in lines)
    assert lines[-1].startswith("effective sample size of a data point: median")
    assert len(lines) <= 24

    def many(x=None, *, size=None):
        with pyro.plate("data", size or len(x), dim=-1):
            for i in range(40):
                pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))

    text = repr(prior_predictive(many, 2000))
    assert len(text.splitlines()) <= 24
    assert "and 20 more" in text
    assert "8 kB" in text


def test_names_of_dimensions():
    assert event_dims("z", 0) == ()
    assert event_dims("z", 1) == ("z_dim",)
    assert event_dims("x", 2) == ("row", "column")
    assert event_dims("z", 3) == ("z_channel", "z_row", "z_column")
    assert event_dims("x", 4) == ("x_dim_0", "x_dim_1", "x_dim_2", "x_dim_3")


def test_corrected_draws_that_repeat_say_so(ppca):
    """A guide that is far too narrow: a few of its draws have all of the weight."""
    data = ppca.data(20)
    repeated = repr(posterior(ppca.model, ppca.guide(1.0, 0.2), data, 50, corrected=True))
    assert "corrected draws repeat there" in repeated
    assert "cannot tell" in repeated
    for guide, corrected in ((ppca.guide(), True), (ppca.guide(1.0, 0.2), False)):
        assert "repeat" not in repr(posterior(ppca.model, guide, data, 50, corrected=corrected))
