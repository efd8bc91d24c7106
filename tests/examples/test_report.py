"""The report of a run, by its folder alone: one that was moved, and one that a script made among others."""

import json

import pytest

import pyrovae
from pyrovae.report import __main__ as report


@pytest.mark.slow
def test_a_report_of_a_run_and_of_one_among_others(example, digits, tmp_path):
    few = ["--data", digits, "--epochs", "1", "--hidden", "32"]
    before = example("vae.py", *few, "--latent", "2", folder=tmp_path / "old").summary()
    (tmp_path / "old").rename(tmp_path / "vae")
    example("flows.py", *few, "--variants", "plain", "--latent", "4", folder=tmp_path / "flows")
    for folder in (tmp_path / "vae", tmp_path / "flows" / "plain"):
        assert report.main([str(folder), "--summary"]) == 0
        assert 5e4 < (folder / "summary.html").stat().st_size < 5e6
        assert not (folder / "report.html").exists()
        assert report.main([str(folder), "--evaluate", "40", "--num-samples", "10"]) == 0
        assert 1e5 < (folder / "report.html").stat().st_size < 5e6
    assert json.loads((tmp_path / "vae" / "summary.json").read_text()) == before
    assert pyrovae.load_run(tmp_path / "vae").history["loss"] == before["train_loss_per_epoch"]
    assert report.main([str(tmp_path / "flows")]) == 0
