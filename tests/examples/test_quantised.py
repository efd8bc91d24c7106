"""Quantised codes under a uniform and a learned prior."""

import math

import pytest

FEW = ["--batch-size", "250", "--hidden", "32", "--codes", "4", "--levels", "3,3", "--width", "8", "--layers", "1"]


def test_quantised_learns_a_prior_over_the_codes_of_each_pair(example, digits, tmp_path):
    flags = ["--data", digits, "--variants", "vq,fsq,gumbel", "--prior-epochs", "2", "--warm-up", "1"]
    done = example("quantised.py", *FEW, *flags, folder=tmp_path)
    result = done.comparison()
    assert list(result) == ["vq", "fsq", "gumbel"]
    for name, row in result.items():
        summary = done.summary(f"{name}/prior")
        assert summary["variant"] == name
        assert row["learned"]["value"] - row["uniform"]["value"] == pytest.approx(row["gain"])
        assert row["bits_per_dim"] == pytest.approx(-row["learned"]["value"] / (784 * math.log(2)))
        assert 1 <= row["perplexity"] <= row["in_use"] <= 9
        assert f"{row['in_use']} of 9" in done.stdout
        if name != "gumbel":
            # The rate under the uniform prior is 4 log 9, and the distortion that of the same codes.
            assert row["uniform"]["value"] == pytest.approx(-row["distortion"]["value"] - 4 * math.log(9), abs=0.01)
            assert row["learned"]["value"] == pytest.approx(-row["distortion"]["value"] - row["code_length"], abs=0.01)
            assert row["learned"]["error"] == 0
    assert {"comparison"} <= done.pictures()
    assert {"curves", "reconstructions", "samples"} <= done.pictures("vq/prior")


def test_quantised_with_convolutions_has_a_grid_of_codes(example, digits, tmp_path):
    flags = ["--data", digits, "--arch", "conv", "--channels", "2", "--levels", "2,2", "--width", "4", "--layers", "1"]
    done = example("quantised.py", *flags, "--variants", "fsq", "--prior-epochs", "1", folder=tmp_path)
    assert f"{49 * math.log(4):.2f}" in done.stdout
    assert "of 49" in done.stdout


def test_quantised_refuses_a_width_that_the_heads_do_not_divide(example, tmp_path):
    done = example("quantised.py", "--width", "10", folder=tmp_path, code=2)
    assert "--width requires a multiple of 4, got 10. Write 12." in done.stderr
