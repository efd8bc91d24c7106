"""python -m pyrovae.report: a page of any folder, and no way to run what the folder holds."""

import json
import pickle
import subprocess
import sys

import pytest
import torch
from PIL import Image

from pyrovae.report import __main__ as command_line
from pyrovae.report.__main__ import main

EVIL = "</script><script>window.evil=1</script><img src=x onerror=window.evil=1>\u2028'\"&<!-- content -->"


class Bomb:
    """A pickle that writes a file when it is read."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


@pytest.fixture
def hostile(tmp_path):
    """A run folder in which every file that could be run writes a mark, and every string is a script."""
    run, mark = tmp_path / "run", tmp_path / "mark"
    run.mkdir()
    for name in ("evil.py", "vae.py", "torch.py", "sitecustomize.py", "pyrovae.py", "__init__.py"):
        (run / name).write_text(f"open({str(mark)!r}, 'w')\n")
    made = {"script": str(run / "evil.py"), "flags": ["--out", EVIL], "folder": str(run), "above": "."}
    strings = {EVIL: EVIL, "__proto__": EVIL, "constructor": EVIL}
    summary = {"command": made, "data": EVIL, "transform": EVIL, "best_epoch": EVIL, "arguments": strings}
    (run / "summary.json").write_text(json.dumps(summary | {"machine": {"device": EVIL}, "seconds": 1}))
    (run / "metrics.json").write_text(json.dumps([{"epoch": 1, "loss": 2.0, EVIL: EVIL}]))
    (run / "config.json").write_text(json.dumps({"model": EVIL, "guide": EVIL}))
    torch.save({"weights": Bomb(mark)}, run / "checkpoint.pt")
    (run / "pickle.png").write_bytes(pickle.dumps(Bomb(mark)))
    Image.new("L", (8, 8)).save(run / "<img src=x onerror=window.evil=1>.png")
    return run, mark


def test_a_hostile_folder_becomes_a_page_and_runs_nothing(hostile, capsys, content, monkeypatch):
    run, mark = hostile
    monkeypatch.setattr(subprocess, "run", None)
    assert main([str(run)]) == 0
    said = capsys.readouterr()
    assert "nothing was run" in said.out
    assert "pickle.png" in said.err
    text = (run / "summary.html").read_text()
    assert text.count("</script>") == text.count("<script") == 2
    assert "<img" not in text
    overview, *_, pictures = content(run / "summary.html")["sections"]
    assert overview["facts"]["settings"] == {EVIL: EVIL, "__proto__": EVIL, "constructor": EVIL}
    assert overview["facts"]["training time"] == f"1 s on {EVIL}"
    assert [item["name"] for item in pictures["items"]] == ["<img src=x onerror=window.evil=1>"]
    assert not mark.exists()


def test_a_hostile_folder_is_not_run_when_a_script_may_run(hostile, capsys, monkeypatch):
    run, mark = hostile
    monkeypatch.setattr(subprocess, "run", None)
    assert main([str(run), "--run-script"]) == 2
    assert "error: The record of the run in summary.json is broken" in capsys.readouterr().err
    made = json.loads((run / "summary.json").read_text())
    made["command"]["flags"] = []
    (run / "summary.json").write_text(json.dumps(made))
    assert main([str(run), "--run-script"]) == 2
    assert "'evil.py', which is none of pyrovae's examples" in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.slow
def test_the_suites_example_reads_a_hostile_folder_and_runs_nothing_of_it(hostile, tmp_path):
    """The example starts as a process, in the run folder itself, and refuses its checkpoint."""
    run, mark = hostile
    made = json.loads((run / "summary.json").read_text())
    made["command"] |= {"script": str(run / "vae.py"), "flags": ["--hidden", "8", "--epochs", "1"]}
    (run / "summary.json").write_text(json.dumps(made))
    line = [sys.executable, "-P", "-m", "pyrovae.report", ".", "--run-script"]
    done = subprocess.run(line, cwd=run, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert f"-m pyrovae.examples.vae --hidden 8 --epochs 1 --out {run}" in done.stdout
    assert "checkpoint.pt" in done.stderr
    assert not mark.exists()


def test_the_command_is_printed_and_run_only_when_asked_for(tmp_path, capsys, monkeypatch):
    made = {"script": "/x/vae.py", "flags": ["--latent", "2"], "folder": "/x", "above": "."}
    (tmp_path / "summary.json").write_text(json.dumps({"command": made}))
    ran = []

    def run(line):
        ran.append(line)
        return subprocess.CompletedProcess(line, 5)

    monkeypatch.setattr(command_line.subprocess, "run", run)
    assert main([str(tmp_path)]) == 0
    assert ran == []
    said = capsys.readouterr().out
    shown = f"-P -m pyrovae.examples.vae --latent 2 --out {tmp_path} --resume --report"
    assert shown in said
    assert "--run-script" in said
    assert main([str(tmp_path), "--run-script", "--evaluate", "9"]) == 5
    assert "The run was started in '/x'" in capsys.readouterr().out
    assert ran[0][1:] == shown.replace("--out", "--evaluate 9 --out").split()


def test_a_folder_that_is_no_run_is_an_error(tmp_path, capsys):
    for path in (tmp_path, tmp_path / "none"):
        assert main([str(path)]) == 2
        assert "error: A report requires a run folder" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, capsys):
    (tmp_path / "summary.json").write_text('{"epochs": 2}')
    (tmp_path / "summary.html").mkdir()
    assert main([str(tmp_path)]) == 2
    assert "error: cannot write 'summary.html'" in capsys.readouterr().err


def test_further_flags_need_the_script(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--evaluate", "9"])
    assert "--run-script" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--run"])
