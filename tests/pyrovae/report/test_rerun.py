"""The command that writes the report of an example's run."""

import json
import sys

from pyrovae.errors import CheckpointError
from pyrovae.report.rerun import command


def test_a_folder_without_a_command_says_what_to_write(says, tmp_path):
    with says(CheckpointError, "no summary.json", "write_report(model, guide, data, run="):
        command(tmp_path, [])
    (tmp_path / "summary.json").write_text("{}")
    with says(CheckpointError, "names no script"):
        command(tmp_path, [])
    record = {"script": str(tmp_path / "gone.py"), "flags": [], "folder": "", "above": "."}
    (tmp_path / "summary.json").write_text(json.dumps({"command": record}))
    with says(CheckpointError, "gone.py", "load_weights"):
        command(tmp_path, [])


def test_the_command_runs_the_script_again_on_the_folder_where_it_is_now(tmp_path):
    script, run = tmp_path / "script.py", tmp_path / "runs" / "all" / "plain"
    script.touch()
    run.mkdir(parents=True)
    record = {"script": str(script), "flags": ["--latent", "2"], "folder": str(tmp_path), "above": ".."}
    (run / "summary.json").write_text(json.dumps({"command": record}))
    out = ["--out", str(tmp_path / "runs" / "all"), "--resume", "--report"]
    line = [sys.executable, str(script), "--latent", "2", "--quiet", *out]
    assert command(run, ["--quiet"]) == (line, str(tmp_path))
