"""The VAE: trained, scored, drawn; resumed after a stop; of images in colour, of a table."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(os.environ.get("PYROVAE_DATA", Path(__file__).parents[3] / "shared" / "data"))
HEADLINE = (166.4, 121.9, 114.8, 111.9, 110.2)  # nats per image, the tutorials' program


def test_vae_trains_scores_and_draws(example, digits, tmp_path):
    flags = ["--data", digits, "--hidden", "50", "--latent", "2", "--lr", "0.005"]
    done = example("vae.py", *flags, folder=tmp_path)
    assert "log-evidence" in done.stdout
    result = done.summary()
    losses = result["train_loss_per_epoch"]
    assert losses[1] < losses[0] < 784 * math.log(2)
    assert -250 < result["elbo"]["value"] < result["log_evidence"]["value"] < -100
    assert result["elbo"]["value"] == pytest.approx(-result["rate"]["value"] - result["distortion"]["value"], abs=1e-3)
    pictures = {"curves", "interpolations", "latent_z", "manifold", "reconstructions", "samples", "traversals"}
    assert done.pictures() == pictures


def test_vae_convolves_a_folder_of_colour_images(example, tmp_path):
    shades = np.linspace(0, 255, 16)
    for name, count in {"train": 150, "test": 50}.items():
        (tmp_path / name).mkdir()
        for i in range(count):
            image = np.stack([np.add.outer(shades * (i % 3), shades * (i % 5)) / 6 % 256] * 3, -1)
            image[..., 1] /= 2
            Image.fromarray(image.astype(np.uint8)).save(tmp_path / name / f"{i}.png")
    flags = ["--arch", "conv", "--channels", "4,8", "--latent", "2", "--data", f"folder:{tmp_path}"]
    done = example("vae.py", *flags, folder=tmp_path / "run")
    result = done.summary()
    assert result["train_loss_per_epoch"][1] < result["train_loss_per_epoch"][0]
    assert result["test_data"] == 50
    assert "uint8 (3, 16, 16)" in result["data"]


@pytest.mark.parametrize(("count", "pictures"), [(48, {"interpolations", "traversals"}), (10, set())])
def test_vae_draws_what_few_images_allow(example, count, pictures, tmp_path):
    """A tenth of them is for testing: four images, or one."""
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(count):
        Image.fromarray(generator.integers(256, size=(8, 8), dtype=np.uint8)).save(tmp_path / "images" / f"{i}.png")
    flags = ["--data", f"folder:{tmp_path / 'images'}", "--hidden", "8", "--latent", "2", "--report"]
    done = example("vae.py", *flags, folder=tmp_path / "run")
    assert done.summary()["test_data"] == count // 10
    whole = {"curves", "latent_z", "manifold", "reconstructions", "samples"}
    assert done.pictures() == whole | pictures


def test_vae_takes_a_table_and_resumes_as_a_command(example, command, table, tmp_path):
    flags = ["--data", table, "--hidden", "16", "--latent", "3"]
    done = example("vae.py", *flags, folder=tmp_path)
    assert math.isfinite(done.summary()["log_evidence"]["value"])
    assert done.pictures() == {"curves", "latent_z"}
    losses = done.summary()["train_loss_per_epoch"]
    command("vae.py", *flags, "--epochs", "3", "--resume", folder=tmp_path)
    assert done.summary()["train_loss_per_epoch"][:2] == losses
    assert len(done.summary()["train_loss_per_epoch"]) == 3


def test_the_evidence_of_a_table_is_a_density_in_its_units(example, tmp_path):
    """A column in other units: the pair is the same, and the density changes by the Jacobian."""
    rows = np.random.default_rng(0).normal(size=(100, 3)) * [1.0, 50.0, 0.1] + [0.0, 1000.0, 5.0]
    found = []
    for name, unit in (("metres", 1.0), ("miles", 2.0**-10)):  # a power of two: not even the rounding changes
        np.savetxt(tmp_path / f"{name}.csv", rows.astype(np.float32) * unit, delimiter=",", fmt="%.17g")
        flags = ["--data", str(tmp_path / f"{name}.csv"), "--hidden", "16", "--latent", "2", "--refine", "10"]
        found.append(example("vae.py", *flags, folder=tmp_path / name))
    metres, miles = (done.summary() for done in found)
    assert metres["train_loss_per_epoch"] == pytest.approx(miles["train_loss_per_epoch"], rel=1e-4)
    gain = 3 * math.log(2.0**10)
    assert miles["log_jacobian"] - metres["log_jacobian"] == pytest.approx(gain)
    for part in ("elbo", "log_evidence"):
        assert miles[part]["value"] - metres[part]["value"] == pytest.approx(gain, abs=1e-3)
    assert metres["distortion"]["value"] - miles["distortion"]["value"] == pytest.approx(gain, abs=1e-3)
    assert metres["rate"]["value"] == pytest.approx(miles["rate"]["value"], abs=1e-3)
    refined = miles["refined"]["refined"]["value"] - metres["refined"]["refined"]["value"]
    assert refined == pytest.approx(gain, abs=1e-3)
    assert "in the units of the table" in found[0].stdout


def test_a_table_gets_a_density_near_that_of_one_gaussian(example, tmp_path):
    """On raw columns of such different units the same epochs end hundreds of nats lower."""
    flags = ["--data", "breast-cancer", "--hidden", "64", "--latent", "5", "--epochs", "20", "--lr", "0.005"]
    result = example("vae.py", *flags, folder=tmp_path).summary()
    assert result["log_evidence"]["value"] > -5


@pytest.mark.parametrize("likelihood", ["bernoulli-grey", "continuous-bernoulli"])
def test_a_cross_entropy_on_grey_levels_bounds_nothing_and_says_so(likelihood, example, grey, tmp_path):
    done = example("vae.py", *grey, "--hidden", "8", "--latent", "2", "--likelihood", likelihood, folder=tmp_path)
    assert ("bound no log p(x)" in done.stdout) == (likelihood == "bernoulli-grey")
    assert done.summary()["bounds_log_evidence"] == (likelihood != "bernoulli-grey")


def test_the_refined_guide_is_compared_with_the_guide_on_the_same_images(example, digits, tmp_path):
    flags = ["--data", digits, "--lr", "0.005", "--hidden", "50", "--latent", "4", "--refine", "100"]
    result = example("vae.py", *flags, folder=tmp_path).summary()
    refined = {name: estimate["value"] for name, estimate in result["refined"].items() if name != "rise"}
    elbo = result["elbo"]["value"]  # on images whose pixels are drawn anew it would differ by a nat
    assert refined["amortisation"] > 0.1
    assert refined["refined"] - refined["amortisation"] == pytest.approx(elbo, abs=0.3)


@pytest.mark.slow
def test_the_tutorials_headline_on_the_full_mnist(example, tmp_path):
    if not (SHARED / "MNIST").is_dir():
        pytest.skip("no MNIST: set PYROVAE_DATA")
    flags = ["--preset", "mlp-grey", "--data", "mnist", "--root", str(SHARED), "--epochs", "5", "--evaluate", "500"]
    result = example("vae.py", *flags, folder=tmp_path).summary()
    for loss, published in zip(result["train_loss_per_epoch"], HEADLINE, strict=True):
        assert loss <= published
