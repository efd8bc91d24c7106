"""The report of a run: one that was moved, and one that a script made among others."""

import json
import subprocess
from pathlib import Path

import pytest

from pyrovae.report import __main__ as report

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def in_process(run_file, monkeypatch):
    """The example of a run is run again in this process."""

    def run(line):
        name = line[3].removeprefix("pyrovae.examples.")
        run_file(EXAMPLES / f"{name}.py", line[4:])
        return subprocess.CompletedProcess(line, 0)

    monkeypatch.setattr(report.subprocess, "run", run)


@pytest.mark.usefixtures("in_process")
def test_a_report_of_a_run_and_of_one_among_others(example, digits, tmp_path):
    few = ["--data", digits, "--epochs", "1", "--hidden", "32"]
    before = example("vae.py", *few, "--latent", "2", folder=tmp_path / "old").summary()
    (tmp_path / "old").rename(tmp_path / "vae")
    example("flows.py", *few, "--variants", "plain", "--latent", "4", folder=tmp_path / "flows")
    for folder in (tmp_path / "vae", tmp_path / "flows" / "plain"):
        assert report.main([str(folder)]) == 0
        assert 5e4 < (folder / "summary.html").stat().st_size < 5e6
        assert not (folder / "report.html").exists()
        assert report.main([str(folder), "--run-script", "--evaluate", "40"]) == 0
        assert 1e5 < (folder / "report.html").stat().st_size < 5e6
        assert len(summary(folder)["train_loss_per_epoch"]) == 1
        assert summary(folder)["test_data"] == 40
    after = summary(tmp_path / "vae")
    assert after["train_loss_per_epoch"] == before["train_loss_per_epoch"]
    assert after["seconds"] > 0.5 * before["seconds"]  # the time of the training counts, and not that of the report
    assert not (tmp_path / "old").exists()


def summary(folder):
    return json.loads((folder / "summary.json").read_text())
