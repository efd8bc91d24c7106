"""The bias of the log-evidence: against means over sets of draws, against exact pairs, and its interval."""

import math

import pytest
import torch

from pyrovae.inference import Estimate, EvidenceEstimate, evaluate, gaps
from pyrovae.inference.evidence.bias import bias_of, loss_of_fewer, mean_bias
from pyrovae.inference.evidence.units import in_units
from pyrovae.inference.pair.tails import Tail
from pyrovae.inference.pair.weights import WeightSums


def summed(log_weight):
    return WeightSums.of(log_weight), Tail.of(log_weight, len(log_weight))


@pytest.mark.parametrize(("num_samples", "spread"), [(22, 0.3), (100, 0.5), (100, 2.0)])
def test_the_loss_of_half_the_draws_is_the_mean_over_halves(num_samples, spread):
    log_weight = spread * torch.randn(num_samples, 100).double()
    weights, tail = summed(log_weight)
    half = num_samples // 2
    halves = [log_weight[torch.randperm(num_samples)].reshape(2, half, 100).logsumexp(1) for _ in range(100)]
    exact = weights.log_mean - (torch.cat(halves) - math.log(half)).mean(0)
    assert loss_of_fewer(weights, tail, 1).mean().item() == pytest.approx(exact.mean().item(), rel=0.06)


def test_the_loss_of_fewer_draws_is_that_of_sets_of_them():
    log_weight = 1.5 * torch.randn(1000, 200).double()
    weights, tail = summed(log_weight)
    sets = torch.stack([log_weight[torch.randperm(1000)[:992]].reshape(16, 62, 200) for _ in range(4)]).flatten(0, 1)
    exact = weights.log_mean - (sets.logsumexp(1) - math.log(62)).mean(0)
    assert loss_of_fewer(weights, tail, 4).mean().item() == pytest.approx(exact.mean().item(), rel=0.03)


def test_equal_weights_have_no_bias():
    weights, tail = summed(torch.full((100, 3), -5.0))
    found = bias_of(weights, tail, tail.khat)
    assert found["log_evidence_bias"].abs().max() < 1e-9
    assert found["log_evidence_bias_error"].abs().max() < 1e-9


def test_the_bias_of_weights_with_a_variance_is_half_their_variance_over_the_draws():
    """By the delta method, of log-normal weights: (e^(s^2) - 1) / (2 S)."""
    log_weight = 0.8 * torch.randn(2000, 400).double()
    weights, tail = summed(log_weight)
    bias, error = mean_bias(*bias_of(weights, tail, tail.khat).values())
    assert bias == pytest.approx(-(math.exp(0.64) - 1) / 4000, rel=0.1)
    assert 0 < error < -bias


def test_a_heavier_tail_loses_more():
    """The same weights: the exponent falls from 1 to 0.2 as k-hat rises from 0.5 to 0.83, and no further."""
    weights, tail = summed(torch.randn(1000, 1).double().expand(-1, 5))
    khat = torch.tensor([0.1, 0.5, 0.7, 1 / 1.2, math.inf]).double()
    bias = -bias_of(weights, tail, khat)["log_evidence_bias"]
    torch.testing.assert_close(bias[[0, 3]], bias[[1, 4]])
    assert bias[1] < bias[2] < bias[3]
    assert (bias[4] / bias[0]).item() == pytest.approx(15 / (2**0.8 - 1))


def test_the_estimates_are_what_they_were(ppca):
    """Value and error do not know of the bias; chunks of data points and draws have one each."""
    data, guide = ppca.data(30), ppca.guide(0.1, 1.2)
    measured = evaluate(ppca.model, guide, data, num_samples=200, memory=64 * 128 * 100)
    found = measured.log_evidence
    assert found.bias.value == pytest.approx(measured.per_datum["log_evidence_bias"].mean().item())
    assert found.bias.value < 0 < found.bias.error
    assert found.corrected.value == found.value - found.bias.value > found.value
    low, high = found.interval
    assert low < found.corrected.value < high
    assert (high - low) / 2 == pytest.approx(1.96 * math.hypot(found.error, found.bias.error))
    assert not found.flagged


def test_what_a_table_says_of_the_bias(ppca):
    data = ppca.data(30)
    trusted = evaluate(ppca.model, ppca.guide(0.1, 1.2), data, num_samples=200)
    lines = [line.split(maxsplit=1) for line in str(trusted).splitlines()]
    assert lines[4][0] == "bias"
    assert str(trusted.log_evidence.bias) in str(trusted)
    assert str(trusted.log_evidence.corrected) in str(trusted)
    assert " to " in str(trusted).splitlines()[5]
    narrow = evaluate(ppca.model, ppca.guide(0, 0.25), data, num_samples=200)
    assert narrow.log_evidence.flagged
    assert all(map(math.isnan, narrow.log_evidence.interval))
    assert "none, k-hat forbids it" in str(narrow)
    assert "a guess" in str(narrow)
    few = evaluate(ppca.model, ppca.guide(), data, num_samples=20)
    assert math.isnan(few.log_evidence.bias.value)
    assert "bias" not in str(few)


def test_few_data_points_need_a_lower_khat():
    """k-hat of 0.5 says nothing for one data point, and enough for a hundred."""
    for size, flagged in ((1, True), (100, False)):
        each = {"log_evidence": torch.zeros(size), "log_evidence_error": torch.ones(size)}
        assert EvidenceEstimate.of(each | {"khat": torch.full((size,), 0.5)}, 1000).flagged is flagged


def test_few_draws_need_a_lower_khat():
    """The limit min(1 - 1 / log10 S, 0.7) is 0.5 at 100 draws, 0.67 at 1,000 and 0.7 from 2,154 on."""
    each = {"log_evidence": torch.zeros(1000), "log_evidence_error": torch.ones(1000)}
    for khat, num_samples, flagged in ((0.6, 100, True), (0.6, 1000, False), (0.68, 1000, True), (0.68, 5000, False)):
        found = EvidenceEstimate.of(each | {"khat": torch.full((1000,), khat)}, num_samples)
        assert found.flagged is flagged
        assert found.unreliable == 0


def test_a_number_that_rests_on_a_log_evidence_has_its_bias(ppca):
    """-2 log p(x) + 3 has a bias of the other sign, and the ends of the interval change places."""
    found = evaluate(ppca.model, ppca.guide(0.1, 1.2), ppca.data(20), num_samples=100).log_evidence
    scaled = found.scaled(-2, 3)
    assert scaled == (3 - 2 * found.value, 2 * found.error)
    assert scaled.bias == (-2 * found.bias.value, 2 * found.bias.error)
    assert scaled.interval == pytest.approx([3 - 2 * end for end in found.interval[::-1]])
    bits = found.bits_per_dim(5)
    assert bits.corrected.value == pytest.approx(-found.corrected.value / (5 * math.log(2)))
    assert bits.corrected.value < bits.value
    assert f"bias {scaled.bias}; 95 % interval" in scaled.remarks
    assert "k-hat" in scaled.remarks
    assert Estimate(1.0, 0.1).scaled(-2).remarks == ""


def test_the_difference_of_two_log_evidences(ppca):
    data = ppca.data(30)
    few, many = (evaluate(ppca.model, ppca.guide(0.1, 1.2), data, num_samples=n).log_evidence for n in (30, 300))
    found = many.minus(few)
    assert found == (many.value - few.value, math.hypot(many.error, few.error))
    assert found.bias.value == many.bias.value - few.bias.value > 0  # fewer draws have the larger bias
    assert found.bias.error == math.hypot(many.bias.error, few.bias.error)
    assert (found.flagged, found.unreliable) == (few.flagged, max(few.unreliable, many.unreliable))
    narrow = evaluate(ppca.model, ppca.guide(0, 0.25), data, num_samples=300).log_evidence
    assert many.minus(narrow).flagged
    assert narrow.minus(many).flagged
    assert all(map(math.isnan, many.minus(narrow).interval))


def test_other_units_and_a_refined_guide_keep_the_bias(ppca):
    data, guide = ppca.data(20), ppca.guide(0.1, 1.2)
    measured = evaluate(ppca.model, guide, data, num_samples=100)
    moved = in_units(measured, 3.0).log_evidence
    assert moved.bias == measured.log_evidence.bias
    assert moved.interval == pytest.approx([end + 3 for end in measured.log_evidence.interval])
    split = gaps(ppca.model, guide, data, num_steps=10, num_samples=50)
    assert isinstance(split.log_evidence.bias, Estimate)
    assert split.per_datum["log_evidence_bias"].shape == (20,)
    assert "bias" in str(split)
    for gap in (split.inference, split.approximation):
        assert gap.bias == split.log_evidence.bias
        assert gap.flagged is split.log_evidence.flagged
    assert type(split.amortisation) is Estimate  # log p(x) is not part of it
