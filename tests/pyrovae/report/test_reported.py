"""A pair in a report: codes, and what they decode to."""

import pyro
import pyro.distributions as dist
import torch

from pyrovae.report import write_report
from pyrovae.report.reported import ReportedPair


def test_sites_before_stay_and_sites_after_follow():
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            a = pyro.sample("a", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            b = pyro.sample("b", dist.Normal(2 * a, 1.0).to_event(1))
            c = pyro.sample("c", dist.Normal(3 * b, 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(a + 10 * b + 100 * c, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            for name in "abc":
                pyro.sample(name, dist.Normal(x, 0.1).to_event(1))

    x = torch.randn(5, 2)
    reported = ReportedPair.of(model, guide, {"x": x}, lambda batch: batch, (), 0)
    b = torch.randn(3, 2)
    torch.testing.assert_close(reported.decoded([4, 4, 1], {"b": b}), x[[4, 4, 1]] + 310 * b)


def test_codes_that_are_certain_have_a_bound_and_a_diagnosis(all_pairs, tmp_path):
    """Their ELBO is one; a point mass of an autoencoder has none, and neither has importance weights."""
    for name, density, judged in (
        ("codes-gumbel", True, True),
        ("codes-causal", False, True),
        ("autoencoder", False, False),
    ):
        pair = all_pairs[name]()
        reported = ReportedPair.of(pair.model, pair.guide, pair.batch, None, (), 0)
        assert (reported.density, reported.judged) == (density, judged)
    pair = all_pairs["codes-causal"]()
    page = write_report(pair.model, pair.guide, pair.batch, run=tmp_path).read_text()
    assert all(words in page for words in ("ELBO", "codes of z", "code length of z"))
