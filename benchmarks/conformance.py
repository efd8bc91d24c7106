"""Pyro's own tests and examples that step an SVI, once with Pyro's SVI and once with ours in its place.

    git clone https://github.com/pyro-ppl/pyro
    python benchmarks/conformance.py --pyro pyro                     # about two hours on one core
    python benchmarks/conformance.py --pyro pyro --resume            # go on with a run that was cut
    python benchmarks/conformance.py --pyro pyro --only test_optim   # files and examples of that name
    python benchmarks/conformance.py --pyro pyro --again failing     # what fails with ours only, once more
    python benchmarks/conformance.py --report                        # only write docs/conformance.md anew

Each test file and each example runs in a process of its own; nothing of Pyro's is copied. A first pass with Pyro's SVI
counts the steps of the tests whose code names it; what takes none is left out. Results go to a JSON-lines file as they
come. The installed Pyro is used where its minor version is that of the checkout, and the checkout's own otherwise.
Captured graphs are replayed operation by operation in tests, where only numbers count; examples are compiled.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from conformance_examples import EXAMPLES, write_data
from conformance_page import page
from conformance_results import Results, Row, passed
from conformance_select import PARTS, sampled

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "conformance.md"
Json = dict[str, Any]

NAMES = re.compile(rf"\bSVI\b|\bcontrib\.({'|'.join(PARTS)})\b")
"""What a test file names that may step an SVI: the class, or a part of Pyro that uses it inside."""

EXCLUDED = ("test_minipyro.py", "test_examples.py", "test_benchmark.py")
"""Files without steps of `pyro.infer.SVI` in their own process, or that only measure time."""


def pyro_of(checkout: Path) -> str:
    """The version of a checkout.

    Args:
        checkout: a clone of Pyro.
    """
    found = re.search(r'version(?:_prefix|__) = "([\d.]+)"', (checkout / "pyro" / "__init__.py").read_text())
    return found[1] if found else ""


def uses_installed(checkout: Path) -> bool:
    """Whether the installed Pyro has the minor version of the checkout.

    Args:
        checkout: a clone of Pyro.
    """
    return pyro_of(checkout).split(".")[:2] == version("pyro-ppl").split(".")[:2]


def test_files(checkout: Path) -> list[str]:
    """The test files that name an SVI.

    Args:
        checkout: a clone of Pyro.
    """
    paths = sorted(path for path in (checkout / "tests").rglob("test_*.py") if path.name not in EXCLUDED)
    return [str(path.relative_to(checkout)) for path in paths if NAMES.search(path.read_text())]


class Runner:
    """Starts a process for each file and example.

    Args:
        args: the command line.
        results: the file of results.
        folder: for the jobs, and as the home of the processes, where examples look for data.
    """

    def __init__(self, args: argparse.Namespace, results: Results, folder: Path) -> None:
        self.args, self.results, self.folder = args, results, folder
        self.checkout: Path = args.pyro.resolve()

    def process(self, job: Json, limit: float) -> bool:
        """Run one process; False if it was stopped at the limit.

        Args:
            job: what it does.
            limit: seconds.
        """
        path = self.folder / "job.json"
        path.write_text(
            json.dumps(
                job
                | {
                    "checkout": str(self.checkout),
                    "folder": str(self.folder),
                    "results": str(self.results.path.resolve()),
                }
            )
        )
        paths = [str(HERE)] if uses_installed(self.checkout) else [str(HERE), str(self.checkout)]
        own = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        own |= {"HOME": str(self.folder), "CI": "1", "MPLBACKEND": "agg"}
        cwd = self.checkout if job["kind"] == "test" else self.folder / "examples"
        command = [sys.executable, str(HERE / "conformance_run.py"), str(path)]
        with (self.results.path.with_suffix(".log")).open("a") as log:
            try:
                subprocess.run(
                    command, env=os.environ | own, cwd=cwd, stdout=log, stderr=log, timeout=limit, check=False
                )
            except subprocess.TimeoutExpired:
                return False
        return True

    def tests(self, path: str, svi: str, ids: list[str] | None, skip: list[str]) -> None:
        """Run the tests of a file; a new process goes on after a test that a process died in.

        Args:
            path: the file.
            svi: `"pyro"` or `"ours"`.
            ids: the tests to run; None for all.
            skip: those that are done.
        """
        limit, offset = self.args.limit * (1 if svi == "pyro" else 2), self.results.size()
        while True:
            job = {"kind": "test", "svi": svi, "path": path, "ids": ids, "skip": skip, "limit": limit}
            job |= {"steps": self.args.test_steps, "sample": self.args.sample, "compile": False}
            within = self.process(job, self.args.file_limit)
            lines = (line for line in self.results.lines(offset) if line["id"].startswith(f"{path}::"))
            begun = {line["id"]: line["event"] for line in lines}
            died = [name for name, event in begun.items() if event == "begin"]
            skip = [*skip, *begun]
            for name in died:
                outcome = "crashed" if within else "time limit"
                self.results.write(
                    event="result", kind="test", svi=svi, id=name, outcome=outcome, error=outcome, steps=0
                )
            if not died:
                break
        self.results.write(event="result", kind="file", svi=svi, id=path)

    def file(self, path: str) -> None:
        """Run the tests of a file with Pyro's SVI, and those that step it with ours.

        Args:
            path: the file.
        """
        theirs = self.results.of("test", "pyro")
        if path not in self.results.of("file", "pyro"):
            self.tests(path, "pyro", None, [name for name in theirs if name.startswith(f"{path}::")])
        rows = [row for row in self.results.rows("test") if row.file == path and row.pyro["outcome"] != "time limit"]
        chosen = set(sampled([row.name for row in rows], self.args.sample))
        again = [row.name for row in rows if row.name in chosen and (row.ours is None or self.again(row))]
        if again and not self.args.first_pass:
            self.tests(path, "ours", again, [])

    def again(self, row: Row) -> bool:
        """Whether to run a test or example with ours that was run before.

        Args:
            row: the test.
        """
        return self.args.again == "all" or (self.args.again == "failing" and not passed(row.ours))

    def prepare_examples(self) -> None:
        """Copy the examples, which write where they stand, and put data where they look for it."""
        data = self.folder / ".data"
        write_data(data)
        shutil.copytree(self.checkout / "examples", self.folder / "examples")
        for link in (self.folder / "data", self.folder / "examples" / "vae" / "data"):
            link.symlink_to(data)

    def example(self, command: str) -> None:
        """Run an example with both SVIs.

        Args:
            command: its file and arguments.
        """
        rows = {row.name: row for row in self.results.rows("example")}
        for svi in ("pyro", "ours"):
            done = command in self.results.of("example", svi)
            if done and not (svi == "ours" and command in rows and self.again(rows[command])):
                continue
            if svi == "ours" and not self.results.of("example", "pyro")[command].get("steps"):
                continue
            limit = self.args.limit * (5 if svi == "pyro" else 10)
            job = {"kind": "example", "svi": svi, "id": command, "command": command.split(), "limit": limit}
            job |= {"steps": self.args.steps, "version": pyro_of(self.checkout), "compile": not self.args.replay}
            within = self.process(job, self.args.file_limit)
            if command not in self.results.of("example", svi):
                outcome = "crashed" if within else "time limit"
                self.results.write(event="result", kind="example", svi=svi, id=command, outcome=outcome, error=outcome)


def run(args: argparse.Namespace, results: Results) -> None:
    """Run what the command line asks for.

    Args:
        args: the command line.
        results: the file of results.
    """
    only = re.compile(args.only)
    results.write(event="setting", kind="setting", svi="", id="", **setting(args))
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(args, results, Path(folder))
        for path in filter(only.search, test_files(args.pyro) if "tests" in args.parts else []):
            print(path, flush=True)
            runner.file(path)
        examples = list(filter(only.search, EXAMPLES if "examples" in args.parts else []))
        if examples:
            runner.prepare_examples()
        for command in examples:
            print(command, flush=True)
            runner.example(command)


def setting(args: argparse.Namespace) -> Json:
    """What is compared with what.

    Args:
        args: the command line.
    """
    commit = subprocess.run(["git", "-C", args.pyro, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "checkout": pyro_of(args.pyro),
        "commit": commit.stdout.strip() or "unknown",
        "pyro": version("pyro-ppl") if uses_installed(args.pyro) else pyro_of(args.pyro),
        "torch": version("torch"),
        "steps": args.steps,
    }


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pyro", type=Path, help="a clone of https://github.com/pyro-ppl/pyro")
    parser.add_argument("--results", type=Path, default=Path("conformance.jsonl"), help="the file of results")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--json", type=Path, help="write the table there too")
    parser.add_argument("--only", default="", help="a regular expression: the files and examples to run")
    parser.add_argument("--parts", nargs="+", choices=["tests", "examples"], default=["tests", "examples"])
    parser.add_argument("--resume", action="store_true", help="go on with the file of results")
    parser.add_argument("--again", choices=["failing", "all"], help="go on, and run these with ours once more")
    parser.add_argument(
        "--first-pass", action="store_true", help="run tests with Pyro's SVI only, to count their steps"
    )
    parser.add_argument("--report", action="store_true", help="only write the page")
    parser.add_argument(
        "--limit", type=float, default=60.0, help="seconds for a test with Pyro's SVI; ours has twice that"
    )
    parser.add_argument("--file-limit", type=float, default=3600.0, help="seconds for a process")
    parser.add_argument("--steps", type=int, default=100, help="steps at which an example is stopped")
    parser.add_argument("--replay", action="store_true", help="replay the graphs of examples too: numbers and no times")
    parser.add_argument("--sample", type=int, help="how many cases of each test function, at most; by default all")
    parser.add_argument("--test-steps", type=int, help="steps at which a test is stopped; by default none is")
    args = parser.parse_args()
    if not args.report and args.pyro is None:
        parser.error("--pyro is required: a clone of https://github.com/pyro-ppl/pyro")
    if not (args.report or args.resume or args.again) and args.results.exists():
        parser.error(f"{args.results} exists: pass --resume to go on with it, or remove it")
    return args


def main() -> None:
    """Run, and write the page."""
    args = parsed()
    results = Results(args.results)
    if not args.report:
        run(args, results)
    args.page.write_text(page(results))
    if args.json:
        table = [{"name": row.name, "pyro": row.pyro, "ours": row.ours} for row in results.rows("test")]
        args.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
