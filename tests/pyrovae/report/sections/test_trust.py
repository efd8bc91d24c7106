"""Trust and evidence in a report."""

from dataclasses import replace

import pytest
import torch

from pyrovae.data import Scale
from pyrovae.guides import NormalGuide
from pyrovae.inference import Annealing, compare_evidence, diagnose, evaluate
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks import MLP
from pyrovae.report import sections


@pytest.fixture
def guide(ppca):
    return ppca.guide(stretch=1.3)


def test_every_verdict_is_a_check(ppca, guide):
    found = diagnose(ppca.model, guide, ppca.data(20), num_samples=50, transform=Scale())
    found = replace(found, per_datum={"khat": torch.linspace(-0.1, 3, 20)})
    section = sections.trust(found)
    assert [check["name"] for check in section["checks"]] == [verdict.name for verdict in found.verdicts]
    bars = {chart["title"]: chart for chart in section["bars"]}
    assert sum(bars["k-hat"]["values"]) == 20  # those below 0 and above 2 are in the bars at the ends
    ranks = bars["Calibration of z"]
    assert sum(ranks["values"]) == pytest.approx(ranks["level"] * len(ranks["values"]))
    for name, held in found.calibration.joint.ranks.items():
        joint = bars[f"Ranks of {name}"]
        assert sum(joint["values"]) == len(held) == pytest.approx(joint["level"] * len(joint["values"]))
        assert f"90 % regions hold {100 * found.calibration.joint.coverage(name):.0f} %" in joint["words"]


def test_what_cannot_be_told_is_counted_apart(ppca, guide):
    found = diagnose(ppca.model, guide, ppca.data(20), num_samples=50, transform=Scale())
    for marks, words in {
        (True, True): "All 2 checks are good.",
        (True, None): " 1 of 2 cannot be told from these data points and draws.",
        (False, None): " 1 of 2 checks asks for care, 1 of 2 cannot be told from these data points and draws.",
        (False, False): " 2 of 2 checks ask for care.",
    }.items():
        verdicts = [found.verdicts[0]._replace(good=good) for good in marks]
        assert sections.trust(replace(found, verdicts=verdicts))["text"].endswith(words)


def test_rates_are_sorted():
    model = VAE(priors.StandardNormal(3), likelihoods.Normal(4, scale=0.5), MLP(3, 4, [5]))
    guide = NormalGuide(MLP(4, 6, [5]))
    found = diagnose(model, guide, {"x": torch.randn(20, 4)}, num_samples=50, transform=Scale())
    (rates,) = (chart for chart in sections.trust(found)["bars"] if chart["title"] == "Rates of the dimensions of z")
    assert len(rates["values"]) == 3
    assert rates["values"] == sorted(rates["values"], reverse=True)


def test_without_a_comparison_there_are_two_estimates(ppca, guide):
    measured = evaluate(ppca.model, guide, ppca.data(20), num_samples=50)
    (group,) = sections.evidence(measured, None)["groups"]
    assert [row["value"] for row in group["rows"]] == [measured.elbo.value, measured.log_evidence.value]


def test_a_comparison_has_a_table_for_each_kind_of_data(ppca, guide):
    data = ppca.data(5)
    annealing = Annealing(num_chains=2, num_temperatures=2, num_leapfrog=1)
    found = compare_evidence(ppca.model, guide, data, annealing, num_samples=50)
    measured = evaluate(ppca.model, guide, data, num_samples=50)
    given, simulated = sections.evidence(measured, found)["groups"]
    assert len(given["rows"]) + len(simulated["rows"]) == len(found.rows)
    weighted = next(row for row in given["rows"] if row["name"].startswith("importance"))
    assert 1 <= weighted["effective_sample_size"] <= 50
    assert torch.isfinite(torch.tensor([row["value"] for row in given["rows"]])).all()
