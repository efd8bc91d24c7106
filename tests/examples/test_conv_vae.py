"""The convolutional VAE of pixels: bits per dimension."""

import math
import re

import numpy as np
import pytest


def printed_bits(text):
    """The bits per dimension in the closing table."""
    return [float(value) for value in re.findall(r"bits/dim +([\d.]+) ± ", text)]


def test_conv_vae_scores_pixels_in_bits_per_dim(example, tmp_path):
    shades, random = np.linspace(0, 100, 16), np.random.default_rng(0)
    slopes, noise = random.uniform(-1, 1, (2, 400, 1, 1, 3)), random.normal(0, 4, (400, 16, 16, 3))
    x = 128 + slopes[0] * shades[:, None, None] + slopes[1] * shades[:, None] / 4 + noise
    np.save(tmp_path / "slopes.npy", x.clip(0, 255).astype(np.uint8))
    source = ["--data", str(tmp_path / "slopes.npy"), "--valid", "50", "--test", "50"]
    flags = ["--channels", "4,8", "--latent", "4", "--epochs", "4", "--lr", "0.005"]
    done = example("conv_vae.py", *source, *flags, folder=tmp_path / "run")
    result = done.summary()
    assert result["bits_per_dim"] == pytest.approx(-result["log_evidence"]["value"] / (768 * math.log(2)))
    assert printed_bits(done.stdout) == [pytest.approx(result["bits_per_dim"], abs=0.01)]
    assert 4 < result["bits_per_dim"] < 8  # 8 is what a uniform distribution over the levels has
    assert result["train_loss_per_epoch"][1] < result["train_loss_per_epoch"][0]


def test_conv_vae_takes_grey_images_and_a_mixture(example, grey, tmp_path):
    nets = ["--arch", "mlp", "--hidden", "8", "--components", "2"]
    result = example("conv_vae.py", *grey, *nets, folder=tmp_path).summary()
    assert result["test_data"] == 20
    assert math.log2(40) < result["bits_per_dim"] < 8  # noise in 40 levels


@pytest.mark.parametrize(
    ("script", "nets"),
    [
        ("conv_vae.py", ["--arch", "gated", "--hidden", "8"]),
        ("hierarchical_vae.py", ["--arch", "gated", "--likelihood", "logistic", "--width", "8", "--latents", "4,2"]),
    ],
)
def test_few_grey_images_need_a_floor_and_a_vamp_prior(script, nets, example, grey, tmp_path):
    few = ["--min-scale", "0.02", "--pseudo-inputs", "5", "--corrupt", "0.05", "--evaluate", "20", "--refine", "50"]
    done = example(script, *grey, *few, *nets, folder=tmp_path)
    result = done.summary()
    refined = {name: estimate["value"] for name, estimate in result["refined"].items() if name != "rise"}
    closer = -refined["log_evidence"] / (35 * math.log(2))
    assert math.log2(40) < result["bits_per_dim"] < 8
    assert closer == pytest.approx(result["bits_per_dim"], abs=0.05)  # two epochs leave little to refine
    assert refined["refined"] < refined["log_evidence"]
    assert printed_bits(done.stdout)[1:] == [pytest.approx(closer, abs=0.01)]
