"""The command `pyrovae`: it runs the installed examples as their scripts run."""

import configparser
import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyrovae import cli
from pyrovae.examples._shared.started import again, named_in, started
from pyrovae.gallery import example_names, examples
from pyrovae.version import __version__

ROOT = Path(__file__).parents[2]


@contextmanager
def stopped(code):
    with pytest.raises(SystemExit) as error:
        yield
    assert error.value.code == code


def test_the_console_script_is_the_command():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    scripts = settings["options.entry_points"]["console_scripts"]
    assert scripts.strip() == "pyrovae = pyrovae.cli:main"


def test_the_list_has_every_example(capsys):
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    for one in examples():
        assert f"pyrovae {one.name.replace('_', '-')}\n  {one.shows}\n" in out


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_help_names_the_commands(argv, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pyrovae"])
    with stopped(0):
        cli.main(argv)
    assert "pyrovae report runs/vae" in capsys.readouterr().out


def test_the_version(capsys):
    with stopped(0):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"pyrovae {__version__}\n"


@pytest.mark.parametrize(
    ("word", "near"), [("vea", "vae"), ("semi-supervised", "semi-supervised-vae"), ("lists", "list"), ("IWAE", "iwae")]
)
def test_an_unknown_name_is_answered_with_the_nearest(word, near, capsys):
    with stopped(2):
        cli.main([word])
    err = capsys.readouterr().err
    assert f"no example {word!r}" in err
    assert f"nearest name is {near!r}" in err
    assert "pyrovae list" in err


@pytest.mark.parametrize("argv", [["--epochs", "5"], ["_shared"], ["../vae"], ["list", "more"]])
def test_what_is_no_command_is_refused(argv):
    with stopped(2):
        cli.main(argv)


@pytest.mark.parametrize("name", example_names())
def test_help_of_an_example_shows_its_commands(name, capsys):
    """With a dash or an underscore; the command lines are those of somebody who installed the wheel."""
    for written in (name, name.replace("_", "-")):
        with stopped(0):
            cli.main([written, "--help"])
        out = capsys.readouterr().out
        assert out.startswith(f"usage: pyrovae {name.replace('_', '-')} [-h]")
        assert "python examples/" not in out
        assert f"\npyrovae {name.replace('_', '-')} " in out


def test_an_example_runs_as_its_script_does(example, digits, tmp_path, capsys, monkeypatch):
    flags = ["--data", digits, "--quiet", "--epochs", "1", "--hidden", "16", "--latent", "2", "--no-compile"]
    flags += ["--evaluate", "20", "--num-samples", "5"]
    monkeypatch.chdir(tmp_path)
    argv = list(sys.argv)
    assert cli.main(["vae", *flags, "--out", "mine"]) == 0
    assert sys.argv == argv
    assert capsys.readouterr().out.endswith("results are in mine/\n")
    script = example("vae.py", *flags, folder=tmp_path / "script").summary()
    mine = json.loads((tmp_path / "mine" / "summary.json").read_text())
    assert mine["elbo"] == script["elbo"]
    assert mine["command"] == again("vae", [*flags, "--out", "mine"])
    assert mine["command"].startswith("pyrovae vae --data ")
    assert cli.main(["vae", *flags, "--out", "mine"]) == 2
    assert "error: " in capsys.readouterr().err
    assert cli.main(["report", "mine", "--num-samples", "5"]) == 0
    assert (tmp_path / "mine" / "report.html").is_file()


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-P", "-m", "pyrovae", "lits"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "'list'" in done.stderr


def test_a_reader_may_stop_early():
    command = [sys.executable, "-P", "-m", "pyrovae", "list"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running.stdout.close()
    assert running.communicate(timeout=60)[1] == ""
    assert running.returncode == 0


def test_a_missing_package_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert cli.main(["anomaly-detection", "--parts", "table", "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.endswith("Write pip install 'pyrovae[data]'.\n")


def test_the_command_that_started_a_script(monkeypatch):
    for first, command in {
        "pyrovae semi-supervised-vae": "pyrovae semi-supervised-vae",
        "examples/semi_supervised_vae.py": "python examples/semi_supervised_vae.py",
        "my clone/semi_supervised_vae.py": "python 'my clone/semi_supervised_vae.py'",
        "ipykernel_launcher.py": "pyrovae semi-supervised-vae",
    }.items():
        monkeypatch.setattr(sys, "argv", [first])
        assert started("semi_supervised_vae") == command
    assert again("semi_supervised_vae", ["--out", "a b"]) == "pyrovae semi-supervised-vae --out 'a b'"


def test_the_name_in_a_docstring():
    assert named_in("A VAE.\n\npython examples/vae.py --latent 2") == "vae"
    assert named_in("A VAE.") == ""
