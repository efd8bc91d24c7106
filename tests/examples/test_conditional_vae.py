"""The conditional VAE: by label, and by the part of an image."""

import math

from pyrovae.display import plus_minus


def test_conditional_vae_generates_by_label(example, digits, tmp_path):
    flags = ["--data", digits, "--hidden", "100", "--latent", "3", "--lr", "0.005"]
    done = example("conditional_vae.py", *flags, folder=tmp_path)
    result = done.summary()
    assert result["train_loss_per_epoch"][1] < result["train_loss_per_epoch"][0] < 784 * math.log(2)
    assert -250 < result["elbo"]["value"] < result["log_evidence"]["value"] < -100
    assert done.pictures() == {"curves", "on_demand", "style_transfer", "styles"}


def test_conditional_vae_completes_images(example, digits, tmp_path):
    scores = {}
    for seen in ("1", "3"):
        flags = ["--data", digits, "--hidden", "100", "--task", "quadrants", "--seen", seen]
        done = example("conditional_vae.py", *flags, folder=tmp_path / seen)
        found = done.summary()["log_evidence"]
        scores[seen] = -found["value"]
        assert done.pictures() == {"completions", "curves"}
        assert f"{plus_minus(scores[seen], found['error'])}   nats per data point, x alone given y" in done.stdout
    assert 20 < scores["3"] < scores["1"] < 160


def test_conditional_vae_requires_labels(example, grey, tmp_path):
    done = example("conditional_vae.py", *grey, folder=tmp_path, code=2)
    assert "--task labels requires labels" in done.stderr
