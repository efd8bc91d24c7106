"""The harness that runs Pyro's tests and examples with our SVI in the place of Pyro's, on a checkout of two files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}  # they import each other

TESTS = """
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO


def model():
    pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=torch.tensor(2.0))


def guide():
    pyro.sample("z", dist.Normal(pyro.param("loc", torch.tensor(0.0)), 0.5))


def svi(model):
    pyro.clear_param_store()
    return SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())


def test_steps():
    losses = [svi.step() for svi in [svi(model)] for _ in range(12)]
    assert len(losses) == 12


def test_does_not_step():
    assert SVI is not None


def test_branches_on_a_value():
    def model():
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(abs(z) if z > 0 else z, 1.0), obs=torch.tensor(2.0))

    branching = svi(model)
    for _ in range(4):
        branching.step()


def test_of_pyro_alone():
    svi(model).step()
    assert SVI.__module__.startswith("pyro.")


def test_dies():
    svi(model).step()
    if SVI.__module__.startswith("pyrovae."):
        import os

        os._exit(1)


def test_after_it():
    svi(model).step()


def test_needs_a_package():
    pytest.importorskip("package_that_nobody_has")
    svi(model).step()
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A clone of Pyro, as far as the harness looks at it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("pyro", "tests", "examples"):
        (folder / name).mkdir()
    (folder / "pyro" / "__init__.py").write_text('version_prefix = "1.9.0"\n')
    (folder / "tests" / "test_some.py").write_text(TESTS)
    (folder / "tests" / "test_other.py").write_text("def test_other():\n    assert True\n")
    (folder / "setup.cfg").write_text("[tool:pytest]\nfilterwarnings = error\n")
    return folder


def run(checkout, *options):
    folder = checkout.parent / "out"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, BENCHMARKS / "conformance.py", "--pyro", checkout, "--parts", "tests"]
    command += ["--results", folder / "results.jsonl", "--page", folder / "page.md", "--json", folder / "table.json"]
    done = subprocess.run([*command, *options], env=SCRIPTS, capture_output=True, text=True, check=False)
    return done, folder


@pytest.fixture(scope="module")
def page(checkout):
    done, folder = run(checkout)
    assert done.returncode == 0, done.stderr
    return (folder / "page.md").read_text(), json.loads((folder / "table.json").read_text())


@pytest.fixture
def table(page):
    return {row["name"].split("::")[1]: row for row in page[1]}


@pytest.mark.slow
def test_lists_the_tests_that_step_an_svi(table):
    assert set(table) == {"test_steps", "test_branches_on_a_value", "test_of_pyro_alone", "test_dies", "test_after_it"}


@pytest.mark.slow
def test_captured_and_equal(table):
    ours = table["test_steps"]["ours"]
    assert (ours["outcome"], ours["steps"], ours["graphs"]) == ("passed", 12, 1)
    theirs = table["test_steps"]["pyro"]["losses"]
    assert [x for (x,) in ours["losses"]] == pytest.approx([x for (x,) in theirs], rel=1e-5)


@pytest.mark.slow
def test_says_why_a_test_runs_eagerly(page, table):
    ours = table["test_branches_on_a_value"]["ours"]
    assert (ours["outcome"], ours["graphs"]) == ("passed", 0)
    assert "the value of a tensor" in ours["eager"][0]
    assert "the value of a tensor" in page[0]


@pytest.mark.slow
def test_names_what_passes_with_pyros_alone(page, table):
    assert table["test_of_pyro_alone"]["ours"]["outcome"] == "failed"
    assert "`test_some.py::test_of_pyro_alone` | AssertionError" in page[0].replace("AssertionError:", "AssertionError")


@pytest.mark.slow
def test_goes_on_after_a_process_that_died(table):
    assert table["test_dies"]["ours"]["outcome"] == "crashed"
    assert table["test_after_it"]["ours"]["outcome"] == "passed"


@pytest.mark.slow
def test_counts_skipped_tests(page):
    assert "1 are skipped" in page[0]


@pytest.mark.slow
def test_goes_on_only_when_asked(checkout, page):
    done, _ = run(checkout)
    assert "pass --resume" in done.stderr
    done, folder = run(checkout, "--resume")
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert sum(line["event"] == "begin" and line["id"].endswith("test_steps") for line in results) == 2


@pytest.mark.slow
def test_runs_what_fails_once_more(checkout, page):
    _, folder = run(checkout, "--again", "failing")
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    begun = [line["id"].split("::")[1] for line in results if line["event"] == "begin" and line["svi"] == "ours"]
    assert begun.count("test_of_pyro_alone") == 2
    assert begun.count("test_steps") == 1


EXAMPLE = """
import pyro
import sys
import visdom
from test_some import svi, model

assert pyro.__version__ == "1.9.0", sys.argv == ["toy.py", "--steps=30"]
mine = svi(model)
for step in range(int(sys.argv[1].removeprefix("--steps="))):
    mine.step()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "outcome"), [(3, "passed"), (30, "stopped")])
def test_an_example_runs_until_it_ends_or_has_taken_enough_steps(checkout, tmp_path, steps, outcome):
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "toy.py").write_text(EXAMPLE)
    (tmp_path / "examples" / "test_some.py").write_text(TESTS)
    results, job = tmp_path / "results.jsonl", tmp_path / "job.json"
    what = {
        "kind": "example",
        "svi": "pyro",
        "id": "toy",
        "command": ["toy.py", f"--steps={steps}"],
        "version": "1.9.0",
    }
    where = {"checkout": str(checkout), "folder": str(tmp_path), "results": str(results)}
    job.write_text(json.dumps(what | where | {"limit": 60, "steps": 12, "compile": False}))
    subprocess.run([sys.executable, BENCHMARKS / "conformance_run.py", job], env=SCRIPTS, check=True)
    result = json.loads(results.read_text().splitlines()[-1])
    assert (result["outcome"], result["steps"], len(result["losses"])) == (outcome, min(steps, 12), min(steps, 10))
