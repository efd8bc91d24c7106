"""Disentangling: scores of known factors."""

import pytest


def test_disentangle_scores_the_factors(example, tmp_path):
    flags = ["--epochs", "3", "--batch-size", "250", "--hidden", "64", "--latent", "4", "--lr", "0.01"]
    variants = ["vae", "beta-tcvae"]
    done = example("disentangle.py", *flags, "--tc-beta", "10", "--variants", ",".join(variants), folder=tmp_path)
    result = done.comparison()
    assert list(result) == variants
    for name, row in result.items():
        assert set(row["gaps"]) == {"shape", "scale", "orientation", "column", "row"}
        assert 0 < row["mig"] < 1
        assert 0.3 < row["factor_vae_score"] <= 1  # chance is 0.2
        assert done.summary(name)["mig"] == row["mig"]
        assert {"curves", "samples", "traversals"} <= done.pictures(name)
    assert result["beta-tcvae"]["rate"]["value"] < result["vae"]["rate"]["value"]
    assert "FactorVAE" in done.stdout
    assert done.pictures() == {"gaps", "factors"}


@pytest.mark.slow
def test_disentangle_with_a_classifier_and_with_covariances(example, tmp_path):
    flags = ["--epochs", "3", "--batch-size", "250", "--hidden", "64", "--latent", "4", "--lr", "0.01"]
    variants = ["factor-vae", "dip-vae-i", "dip-vae-ii"]
    done = example("disentangle.py", *flags, "--classifier", "32", "--variants", ",".join(variants), folder=tmp_path)
    result = done.comparison()
    assert list(result) == variants
    assert all(0 < row["mig"] < 1 for row in result.values())


def test_disentangle_takes_labels_for_factors(example, digits, tmp_path):
    flags = ["--data", digits, "--variants", "beta-vae", "--hidden", "30", "--batch-size", "250"]
    done = example("disentangle.py", *flags, folder=tmp_path)
    assert list(done.summary("beta-vae")["gaps"]) == ["y"]
