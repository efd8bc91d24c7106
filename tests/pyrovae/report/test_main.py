"""pyrovae report RUN: the report of any run, by its folder alone, and no way to run what the folder holds."""

import json
import pickle
import subprocess

import pytest
import torch
from PIL import Image

import pyrovae
import pyrovae.report
from pyrovae.data import Dataset, Standardize
from pyrovae.data.origin import Origin, digest
from pyrovae.guides import NormalGuide
from pyrovae.inference import fit
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP
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
    strings = {EVIL: EVIL, "__proto__": EVIL, "constructor": EVIL}
    summary = dict.fromkeys(("command", "data", "transform", "best_epoch"), EVIL) | {"arguments": strings}
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
    assert "the pair was not built" in said.out
    assert "write_report(model, guide, data" in said.out
    assert "pickle.png" in said.err
    text = (run / "summary.html").read_text()
    assert text.count("</script>") == text.count("<script") == 2
    assert "<img" not in text
    overview, *_, pictures = content(run / "summary.html")["sections"]
    assert overview["facts"]["settings"] == {EVIL: EVIL, "__proto__": EVIL, "constructor": EVIL}
    assert overview["facts"]["training time"] == f"1 s on {EVIL}"
    assert [item["name"] for item in pictures["items"]] == ["<img src=x onerror=window.evil=1>"]
    assert not mark.exists()


@pytest.mark.parametrize("text", ["", "{}", "3", json.dumps({"pair": EVIL}), json.dumps({"why": EVIL})])
def test_a_hostile_record_of_the_pair_is_refused(text, hostile, capsys):
    run, mark = hostile
    (run / "pair.json").write_text(text)
    assert main([str(run)]) == 2
    assert "error: report.html is not written: " in capsys.readouterr().err
    assert (run / "summary.html").exists()
    assert not (run / "report.html").exists()
    assert not mark.exists()


def trained(folder, data, **options):
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(4), MLP(2, 4, (5,)))
    fit(model, NormalGuide(MLP(4, 4, (5,))), data, epochs=1, progress=False, run=folder, **options)


@pytest.fixture
def named(monkeypatch):
    """A data set that `data.load` gives again, whatever its name."""
    splits = {split: {"x": 100 + 10 * torch.rand(count, 4)} for split, count in (("train", 40), ("test", 30))}
    names = ("root", "valid", "test", "size", "level")
    origin = Origin(dict.fromkeys(names) | {"name": "mine", "max_bytes": 9}, "")
    found = Dataset(splits["train"], {}, splits["test"], "mine", "drawn", origin=origin)
    object.__setattr__(origin, "digest", digest(found.splits, False))
    monkeypatch.setattr("pyrovae.data.load", lambda **_: found)
    return found


@pytest.mark.slow
def test_a_run_has_a_full_report(named, tmp_path, capsys, content):
    """Its estimates are in the units of the data."""
    trained(tmp_path / "run", named, transform=Standardize.of(named.train["x"]))
    assert main([str(tmp_path / "run"), "--evaluate", "25", "--num-samples", "22", "--seed", "3"]) == 0
    assert "report.html" in capsys.readouterr().out
    page = content(tmp_path / "run" / "report.html")
    assert page["lead"].startswith("25 data points")
    assert "Training" in [section["title"] for section in page["sections"]]
    tiles = {name: estimate for name, estimate, _ in page["sections"][0]["tiles"]}
    assert tiles["distortion"][0] > 4  # four columns of spread 3, not 1


def test_a_run_without_data_says_what_to_write(tmp_path, capsys):
    trained(tmp_path, {"x": torch.rand(9, 4)})
    assert main([str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "no Dataset" in said.err
    assert "write_report(model, guide, data" in said.err
    assert main([str(tmp_path), "--summary"]) == 0


class Mine(VAE):
    """A class of a user's own."""


class Own(NormalGuide):
    """Another one."""


def test_a_run_of_ones_own_classes_says_the_lines_that_write_its_report(named, tmp_path, capsys):
    """All classes at once, by their names; the lines are then true."""
    model = Mine(priors.StandardNormal(2), likelihoods.Normal(4), MLP(2, 4, (5,)))
    fit(model, Own(MLP(4, 4, (5,))), named, epochs=1, progress=False, run=tmp_path)
    assert main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    line = f"load_run({str(tmp_path)!r}, classes=[Mine, Own])"
    assert line in said
    assert "Restore" not in said
    call = "write_report(run.model, run.guide, run.data.test, run=" + repr(str(tmp_path)) + ", transform=run.transform)"
    assert call in said
    run = eval(line, {"load_run": pyrovae.load_run, "Mine": Mine, "Own": Own})
    eval(call, {"write_report": pyrovae.report.write_report, "run": run})
    assert (tmp_path / "report.html").is_file()


def test_several_runs_are_named(tmp_path, capsys):
    for name in ("one", "two"):
        trained(tmp_path / name, {"x": torch.rand(9, 4)})
    assert main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f'pyrovae report "{tmp_path / "one"}"' in said
    assert f'pyrovae report "{tmp_path / "two"}"' in said


def test_a_folder_that_is_no_run_is_an_error(tmp_path, capsys):
    for path in (tmp_path, tmp_path / "none"):
        assert main([str(path)]) == 2
        assert "error: A report requires a run folder" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, capsys):
    (tmp_path / "summary.json").write_text('{"epochs": 2}')
    (tmp_path / "summary.html").mkdir()
    assert main([str(tmp_path)]) == 2
    assert "error: cannot write 'summary.html'" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--evaluate", "-1"], ["--seed", "x"], ["--num-samples", "9" * 12], ["--run"]])
def test_flags_without_a_meaning_are_refused(flags, tmp_path):
    with pytest.raises(SystemExit):
        main([str(tmp_path), *flags])
