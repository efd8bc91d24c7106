"""Objects on canvases: trained by both objectives, and counted."""

import numpy as np
import pytest

SMALL = ["--canvases", "128", "--hidden", "16", "--channels", "4", "--glimpse", "8", "--latent", "3"]


@pytest.mark.parametrize("objective", ["enumerated", "score"])
def test_objects_are_counted_and_drawn(example, tmp_path, digits, objective):
    flags = ["--data", digits, "--objective", objective, "--particles", "2", "--steps", "2", "--tested", "150"]
    done = example("objects.py", *SMALL, *flags, folder=tmp_path)
    found = done.summary()
    assert found["elbo"]["value"] > -500
    assert set(found["count_accuracy_of"]) == {"0", "1", "2"}
    assert 0.2 < found["count_accuracy"] <= 1  # a constant number is right on a third
    assert "right on 150 test canvases" in done.stdout
    assert {"objects", "reconstructions", "samples", "curves"} <= done.pictures()


def test_digits_without_room(example, tmp_path, digits):
    done = example("objects.py", *SMALL, "--data", digits, "--side", "28", "--most", "3", folder=tmp_path, code=2)
    assert "a larger side" in done.stderr


def test_data_without_validation(example, tmp_path):
    np.savez(tmp_path / "few.npz", x=np.eye(28, dtype=np.uint8).reshape(1, 28, 28).repeat(30, 0))
    flags = ["--data", str(tmp_path / "few.npz"), "--valid", "0"]
    done = example("objects.py", *SMALL, *flags, folder=tmp_path / "run", code=2)
    assert "--valid 500" in done.stderr
