"""The command that writes the full report of an example's run: no part of a run folder chooses what runs."""

import json
import sys

import pytest

from pyrovae.errors import CheckpointError
from pyrovae.report.rerun import command, examples, record

MADE = {"script": "/home/somebody/pyrovae/examples/vae.py", "flags": ["--latent", "2"], "folder": "/home", "above": "."}


@pytest.fixture
def run(tmp_path):
    """A run folder whose record is that of examples/vae.py with other entries."""

    def made(**entries):
        (tmp_path / "summary.json").write_text(json.dumps({"command": MADE | entries}))
        return tmp_path

    return made


def line(name, *flags, out):
    return [sys.executable, "-P", "-m", f"pyrovae.examples.{name}", *flags, "--out", str(out), "--resume", "--report"]


def test_a_folder_without_a_record_says_what_to_write(says, tmp_path):
    with says(CheckpointError, "no summary.json", "write_report(model, guide, data, run="):
        command(tmp_path)
    for content in ("{}", "[]", "3", '{"command": null}'):
        (tmp_path / "summary.json").write_text(content)
        with says(CheckpointError, "names no script"):
            command(tmp_path)


def test_the_command_runs_the_example_on_the_folder_where_it_is_now(run):
    folder = run()
    assert command(folder, ["--quiet"]) == line("vae", "--latent", "2", "--quiet", out=folder)


def test_a_run_among_others_is_run_with_them(run, tmp_path):
    folder = run(script="C:\\pyrovae\\examples\\flows.py", flags=[], above="..")
    assert record(folder).below
    assert command(folder) == line("flows", out=tmp_path.parent)


def test_a_script_of_somebody_else_is_not_run(run, says, tmp_path):
    own = tmp_path / "own.py"
    own.write_text("raise SystemExit")
    for script in (
        own,
        "own",
        "vae",
        "vae.sh",
        "_shared.py",
        "__init__.py",
        "os.py",
        "vae.py/..",
        "",
        "../vae.py;id.py",
    ):
        with says(CheckpointError, "none of pyrovae's examples", "load_weights", "write_report"):
            command(run(script=str(script)))


def test_a_script_of_an_examples_name_elsewhere_is_not_run_either(run, tmp_path):
    (tmp_path / "vae.py").write_text("raise SystemExit")
    assert command(run(script=str(tmp_path / "vae.py"))) == line("vae", "--latent", "2", out=tmp_path)


@pytest.mark.parametrize("name", examples())
def test_every_example_is_found_by_its_name(name, run):
    assert record(run(script=f"/x/{name}.py")).example == name


@pytest.mark.parametrize(
    "entries",
    [
        {"above": "../.."},
        {"above": "/etc"},
        {"above": "../../../../tmp"},
        {"above": None},
        {"above": ["."]},
        {"flags": "--latent 2"},
        {"flags": [3]},
        {"flags": [["--latent"]]},
        {"flags": ["--data", "\x1b]0;title\x07"]},
        {"flags": ["--data", "two\nlines"]},
        {"flags": ["--data", "\0"]},
        {"flags": ["--data", "\ud800"]},
        {"flags": ["--quiet"] * 1000},
        {"flags": ["x" * 10_000]},
        {"flags": None},
        {"script": None},
        {"script": ["vae.py"]},
        {"folder": 3},
        {"folder": "\x1b[2J"},
    ],
    ids=lambda entries: ascii(entries)[:40],
)
def test_a_record_that_is_no_record_is_refused(entries, run, says):
    with says(CheckpointError, "summary.json is broken"):
        command(run(**entries))


@pytest.mark.parametrize("record", ["vae.py", ["vae.py"], {"a": "b"}, True], ids=repr)
def test_a_record_of_another_type_is_refused(record, tmp_path, says):
    (tmp_path / "summary.json").write_text(json.dumps({"command": record}))
    with says(CheckpointError, "summary.json is broken"):
        command(tmp_path)


@pytest.mark.parametrize(
    "flags",
    [["--"], ["--help"], ["--latent", "two"], ["--latent"], ["--evil", "x"], ["--lr=" + "9" * 3000 + "x"]],
    ids=lambda flags: flags[0][:10],
)
def test_flags_that_the_example_does_not_take_are_refused(flags, run, says, capsys):
    with says(CheckpointError, "does not take the flags", "python -m pyrovae.examples.vae"):
        command(run(flags=flags))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("flags", [["--out", "/etc"], ["--out=/etc"], ["--ou", "/etc"]], ids=" ".join)
def test_flags_cannot_choose_the_folder(flags, run, tmp_path):
    assert command(run(flags=flags))[-4:-2] == ["--out", str(tmp_path)]


@pytest.mark.parametrize("flag", ["--overwrite", "--over", "--ov"])
def test_a_run_that_replaced_another_is_not_replaced_again(flag, run, tmp_path):
    assert command(run(flags=[flag, "--latent", "2"])) == line("vae", "--latent", "2", out=tmp_path)


def test_an_example_that_would_write_elsewhere_is_refused(run, says, tmp_path):
    """inspect_posterior writes into the folder of its flag --run, which names another one here."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "summary.json").write_text(json.dumps({"command": MADE}))
    with says(CheckpointError, "leave the run folder"):
        command(run(script="inspect_posterior.py", flags=["--run", str(other)]))
