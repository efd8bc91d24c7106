"""Hierarchies: the rate of each level, dense and convolutional."""

import pytest


@pytest.mark.parametrize(
    "flags", [[], ["--model", "chain", "--guide", "bottom-up", "--latents", "8,4", "--arch", "gated"]]
)
def test_hierarchical_vae_has_the_rate_of_each_level(flags, example, digits, tmp_path):
    done = example("hierarchical_vae.py", "--data", digits, "--width", "32", "--warm-up", "1", *flags, folder=tmp_path)
    result = done.summary()
    rates = {name: rate["value"] for name, rate in result["rates"].items()}
    assert sorted(rates) == (["z1", "z2"] if flags else ["z1", "z2", "z3"])
    assert sum(rates.values()) == pytest.approx(result["rate"]["value"], abs=1e-3)
    assert all(f"rate of {name}" in done.stdout for name in rates)
    assert -300 < result["elbo"]["value"] <= result["log_evidence"]["value"] < -100
    assert {"curves", "reconstructions", "samples", "latent_z1"} <= done.pictures()


@pytest.mark.parametrize("guide", ["top-down", "bottom-up"])
def test_hierarchical_vae_convolves(guide, example, digits, tmp_path):
    few = ["--data", digits, "--width", "2", "--batch-size", "250", "--num-samples", "2", "--warm-up", "0"]
    result = example("hierarchical_vae.py", *few, "--arch", "conv", "--guide", guide, folder=tmp_path).summary()
    assert set(result["rates"]) == {"z1", "z2", "z3"}
    assert result["train_loss_per_epoch"][1] < result["train_loss_per_epoch"][0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--guide", "bottom-up", "--pseudo-inputs", "5"], "--pseudo-inputs requires"),
        (["--arch", "conv", "--model", "chain"], "--arch conv requires --model ladder"),
        (["--latents", "8"], "--latents requires two levels or more, got [8]"),
    ],
)
def test_hierarchical_vae_names_flags_that_do_not_fit(flags, message, example, tmp_path):
    assert message in example("hierarchical_vae.py", *flags, folder=tmp_path, code=2).stderr
