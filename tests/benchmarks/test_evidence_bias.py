"""The table of corrected importance sampling against AIS, and the images that it is about."""

import pytest
import torch

from pyrovae import data


@pytest.fixture
def script(load_script):
    return load_script("evidence_bias")


def part(first, exact, bias=-0.5, khat=0.9):
    """A part of the images, whose corrected estimates are the exact ones plus 0.1 and minus 0.1."""
    apart = [0.1 * (-1) ** i for i in range(len(exact))]
    sampled = {
        "log_evidence": [value + bias + gap for value, gap in zip(exact, apart, strict=True)],
        "log_evidence_error": [0.3] * len(exact),
        "khat": [khat] * len(exact),
        "log_evidence_bias": [bias] * len(exact),
        "log_evidence_bias_error": [-bias] * len(exact),
    }
    chains = {"log_evidence": exact, "log_evidence_error": [0.2] * len(exact)}
    return {"first": first, "500": sampled, "effective_sample_size": [9.0], "acceptance": [0.65]} | chains


def test_the_difference_is_paired(script):
    cells = [cell.strip() for cell in script.row([part(0, [-90.0, -100.0, -80.0, -110.0])], 500).split("|")[1:-1]]
    assert cells[:2] == ["4", "500"]
    assert cells[2:5] == ["-95.50 ± 0.15", "-0.50 ± 0.25", "-95.00 ± 0.10"]
    assert cells[5] == "0.000 ± 0.058"  # 0.115 / sqrt(4), where the images themselves differ by tens
    assert cells[6] == "up, 100%"


def test_images_that_were_not_used_for_tuning_have_a_row(script):
    parts = [part(first, [-90.0, -80.0], khat=0.1) for first in (0, 100, 200, 300)]
    lines = script.table(parts, [500]).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:5]] == ["8", "4", "4"]
    assert "down" in lines[2]
    assert "9.0 effective chains, acceptance 0.65" in lines[-1]


def test_the_demo_has_a_thousand_images_that_it_was_not_trained_on(script):
    digits = data.load("digits")
    images = script.held_out(digits, 1000)
    assert images.shape == (1000, 1, 28, 28)
    assert set(images.unique().tolist()) == {0, 255}
    assert torch.equal(images[:20], script.held_out(digits, 20))  # fewer images are the first of these
