"""Importance-weighted autoencoders: bounds, gradients, and runs that start at others."""

import pytest


def test_iwae_compares_bounds_and_gradients(example, digits, tmp_path):
    flags = ["--data", digits, "--epochs", "1", "--batch-size", "250"]
    done = example("iwae.py", *flags, folder=tmp_path)
    result = done.comparison()
    assert list(result) == ["ELBO", "IWAE-10, plain", "IWAE-10, stl", "IWAE-10, dreg"]
    assert all(row["bound"]["value"] < row["log_evidence"]["value"] + 1 for row in result.values())
    plain, dreg = result["IWAE-10, plain"]["gradient"], result["IWAE-10, dreg"]["gradient"]
    assert dreg["scale"] < plain["scale"]
    assert "signal/noise" in done.stdout
    assert done.pictures() == {"comparison", "validation"}


@pytest.mark.parametrize("layers", ["1", "2"])
def test_iwae_trains_one(layers, example, digits, tmp_path):
    flags = ["--particles", "3", "--gradient", "dreg", "--layers", layers, "--schedule", "cosine"]
    result = example("iwae.py", "--data", digits, *flags, "--batch-size", "250", folder=tmp_path).summary()
    assert result["train_loss_per_epoch"][1] < result["train_loss_per_epoch"][0] < 784 * 0.6931
    assert result["particles"] == 3


def test_iwae_starts_at_another_run(example, digits, tmp_path):
    shared = ["--data", digits, "--batch-size", "250"]
    elbo = example("iwae.py", *shared, "--particles", "1", folder=tmp_path / "elbo").summary()
    start = ["--start", str(tmp_path / "elbo")]
    iwae = example("iwae.py", *shared, "--particles", "3", *start, folder=tmp_path / "iwae").summary()
    assert iwae["train_loss_per_epoch"][0] < elbo["train_loss_per_epoch"][-1]
    scored = ["--particles", "1", "--epochs", "0", "--schedule", "cosine", *start]
    result = example("iwae.py", *shared, *scored, folder=tmp_path / "scored").summary()
    assert result["log_evidence"] == elbo["log_evidence"]
