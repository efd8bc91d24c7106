"""What a flag may be: values without a meaning are refused by argparse, with a sentence, before data are loaded."""

import argparse
import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

from pyrovae.examples._shared import values

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "__init__")

TAKEN = [
    (values.positive_int, {"1": 1, " 12 ": 12}, ["0", "-1", "1.5", "nan", "abc", "", "1e3"]),
    (values.whole, {"0": 0, "3": 3}, ["-1", "0.5", "inf", "many"]),
    (values.seed, {"0": 0, str(2**32 - 1): 2**32 - 1}, ["-1", str(2**32), "1764366114000000000", "0.5"]),
    (values.positive, {"1e-3": 1e-3, "2": 2.0}, ["0", "-1", "nan", "inf", "fast"]),
    (values.non_negative, {"0": 0.0, "0.5": 0.5}, ["-0.1", "nan", "inf", "x"]),
    (values.fraction, {"0": 0.0, "1": 1.0, "0.3": 0.3}, ["1.1", "-0.1", "nan", "half"]),
    (values.below_one, {"0": 0.0, "0.95": 0.95}, ["1", "-0.1", "nan", "half"]),
    (values.device, {"cpu": "cpu", "auto": "auto"}, []),
    (values.integers, {"400,200": [400, 200], "": []}, ["400,0", "400,-1", "400,1.5", "a"]),
    (values.some_integers, {"16,16": [16, 16], "5": [5]}, ["", "8,", "8,0"]),
    (values.counts, {"50,100": [50, 100]}, ["", "0", "50,50"]),
    (values.labels, {"0,4": [0, 4]}, ["-1", "1.5", "a", "", "4,4"]),
    (values.numbers, {"1,4.5": [1.0, 4.5]}, ["-1", "nan", "a", "", "1,1.0"]),
    (values.share, {"0.5": 0.5}, ["0", "1", "nan", "all"]),
    (values.few_or_none, {"0": 0, "2": 2}, ["1", "-1", "some"]),
    (values.refining_steps, {"0": 0, "10": 10}, ["-1", "1", "9", "a"]),
]


@pytest.mark.parametrize(("kind", "right", "wrong"), TAKEN)
def test_values_with_a_meaning_and_without(kind, right, wrong):
    for text, value in right.items():
        assert kind(text) == value
    for text in wrong:
        with pytest.raises(argparse.ArgumentTypeError, match=r"^requires a .*number.*, got .*\.$"):
            kind(text)


def test_names():
    chosen = values.names(("plain", "vamp"))
    assert chosen("vamp,plain") == ["vamp", "plain"]
    with pytest.raises(argparse.ArgumentTypeError, match=r"there is no flow, glow\. Choose from plain,vamp\."):
        chosen("flow,plain,glow")
    with pytest.raises(argparse.ArgumentTypeError, match="each time, got vamp,vamp"):
        chosen("vamp,vamp")


def test_every_number_on_a_command_line_has_a_meaning():
    """No script takes any `int` or `float`, unless a few numbers are its choices."""
    loose = []
    for path in [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("_shared/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                if given.get("type") in ("int", "float") and "choices" not in given:
                    loose.append(f"{path.name}:{node.lineno}")
    assert not loose


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("flag", "value", "rule"),
    [
        ("--epochs", "-1", "a whole number of at least 0, got -1"),
        ("--batch-size", "0", "a whole number of at least 1, got 0"),
        ("--latent", "0", "a whole number of at least 1, got 0"),
        ("--lr", "nan", "a finite number above 0, got nan"),
        ("--patience", "0", "a whole number of at least 1, got 0"),
        ("--clip-norm", "-1", "a finite number above 0, got -1.0"),
        ("--average", "1", "a number of at least 0 and below 1, got 1.0"),
        ("--seed", "-1", "a whole number from 0 to 2**32 - 1, got -1"),
        ("--num-samples", "0", "a whole number of at least 1, got 0"),
        ("--evaluate", "-5", "a whole number of at least 0, got -5"),
        ("--valid", "-5", "a whole number of at least 0, got -5"),
        ("--device", "gpu", "one that this machine has, got 'gpu': "),
        ("--max-bytes", "2GB", "a whole number from 1 to 4611686018427387904, got '2GB'"),
    ],
)
def test_a_script_refuses_a_flag_without_a_meaning(script, flag, value, rule, capsys):
    arguments = import_module(f"pyrovae.examples.{script}").arguments
    if f'"{flag}"' not in inspect.getsource(import_module(f"pyrovae.examples.{script}")) and flag == "--latent":
        pytest.skip(f"{script} has no {flag}")
    with pytest.raises(SystemExit) as stopped:
        arguments([f"{flag}={value}"])
    assert stopped.value.code == 2
    assert f"error: argument {flag}: requires {rule}" in capsys.readouterr().err
