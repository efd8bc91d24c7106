"""One process of `conformance.py`: runs a test file of Pyro, or an example, with Pyro's SVI or ours.

Results are appended to a JSON-lines file as they come: a `begin` line before a test and a `result` line after it, so
a process that dies leaves the name of the test that it died in.
"""

import contextlib
import json
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pyro
import pytest
import torch
from conformance_patch import Recorder, StepLimit, install
from conformance_select import may_step, sampled

__all__: list[str] = []

Json = dict[str, Any]


class Log:
    """The file of results.

    Args:
        job: what this process does, as `conformance.py` wrote it.
    """

    def __init__(self, job: Json) -> None:
        self.path = Path(job["results"])
        self.common = {"kind": job["kind"], "svi": job["svi"], "compile": job["compile"]}

    def write(self, event: str, name: str, **fields: Any) -> None:
        """Append one line.

        Args:
            event: `"begin"` or `"result"`.
            name: the test or example.
            fields: what else is known of it.
        """
        with self.path.open("a") as file:
            file.write(json.dumps({"event": event, "id": name, **self.common, **fields}) + "\n")


class Plugin:
    """A pytest plugin that records each test.

    Args:
        job: what this process does; `ids` are the tests to run, None for all, `skip` those that are done.
        recorder: what the steps are written to.
        log: the file of results.
    """

    def __init__(self, job: Json, recorder: Recorder, log: Log) -> None:
        self.ids, self.skip = job["ids"], set(job["skip"])
        self.sample, self.limit = job["sample"], job["limit"]
        self.recorder, self.log = recorder, log

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Keep the tests that are to be run."""
        may = {item.nodeid: item for item in items if may_step(item.function, item.module, item.cls)}
        wanted = set(sampled(list(may), self.sample) if self.ids is None else self.ids) - self.skip
        items[:] = [item for item in items if item.nodeid in wanted]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[Any]:
        """Write when a test begins and how it ended."""
        self.recorder.reset()
        self.reports: list[Any] = []
        self.log.write("begin", item.nodeid)
        start = time.process_time()
        done = yield
        outcome, error = _outcome(self.reports)
        seconds = time.process_time() - start
        summary = self.recorder.summary()
        self.log.write("result", item.nodeid, outcome=outcome, error=error, seconds=seconds, **summary)
        return done

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """The same random numbers for both SVIs; a test with a seed of its own sets that afterwards."""
        pyro.set_rng_seed(0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[Any]:
        """Stop a test at the limit."""
        with alarm(self.limit):
            return (yield)

    def pytest_collectreport(self, report: Any) -> None:
        """Write that a file cannot be collected, or skips itself for lack of a package."""
        if report.outcome != "passed":
            outcome = "skipped" if report.skipped else "failed"
            log = str(report.longrepr).strip().splitlines() or [""]
            self.log.write("result", report.nodeid, outcome=outcome, error=_short(log[-1]), seconds=0.0, steps=0)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the reports of setup, call and teardown."""
        self.reports.append(report)


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Fail when the time is up.

    Args:
        seconds: the limit.
    """

    def fail(*_: Any) -> None:
        pytest.fail("time limit", pytrace=False)

    signal.signal(signal.SIGPROF, fail)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _outcome(reports: list[Any]) -> tuple[str, str]:
    """Passed, failed, skipped, xfailed, xpassed or time limit, and the error."""
    for report in reports:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            error = crash.message if crash else str(report.longrepr)
            if StepLimit.__name__ in error:
                return "stopped", ""
            return ("time limit" if error.endswith("time limit") else "failed"), _short(error)
    for report in reports:
        if report.skipped:
            return ("xfailed" if hasattr(report, "wasxfail") else "skipped"), _short(str(report.longrepr))
    return ("xpassed" if any(hasattr(report, "wasxfail") for report in reports) else "passed"), ""


def _short(text: str) -> str:
    return " ".join(text.split())[:500]


def run_tests(job: Json, recorder: Recorder, log: Log) -> None:
    """Run the tests of one file.

    Args:
        job: what this process does.
        recorder: what the steps are written to.
        log: the file of results.
    """
    options = ["-q", "-p", "no:cacheprovider", "--tb=short", f"--rootdir={job['checkout']}", job["path"]]
    code = pytest.main(options, plugins=[Plugin(job, recorder, log)])
    if code in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        sys.exit(3)


def run_example(job: Json, recorder: Recorder, log: Log) -> None:
    """Run one example program as its own command line would.

    Args:
        job: what this process does.
        recorder: what the steps are written to.
        log: the file of results.
    """
    script, *arguments = job["command"]
    path = Path(job["folder"]) / "examples" / script
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.parent))
    sys.modules.setdefault("visdom", MagicMock())  # a plot server
    pyro.__version__ = job["version"]  # examples assert that of their checkout
    pyro.set_rng_seed(0)
    log.write("begin", job["id"])
    start, outcome, error = time.process_time(), "passed", ""
    try:
        with alarm(job["limit"]):
            runpy.run_path(str(path), run_name="__main__")
    except StepLimit:
        outcome = "stopped"
    except SystemExit as stop:
        outcome, error = ("failed", f"exit {stop.code}") if stop.code else ("passed", "")
    except BaseException as failure:
        traceback.print_exc()
        error = _short(f"{type(failure).__name__}: {failure}")
        outcome = "time limit" if error.endswith("time limit") else "failed"
    seconds = time.process_time() - start
    log.write("result", job["id"], outcome=outcome, error=error, seconds=seconds, **recorder.summary())


def main() -> None:
    """Read the job, put the SVI in its place, and run."""
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    pyro.set_rng_seed(0)
    recorder, log = Recorder(job.get("steps")), Log(job)
    install(job["svi"] == "ours", recorder, compile=job["compile"])
    sys.path.insert(0, job["checkout"])
    {"test": run_tests, "example": run_example}[job["kind"]](job, recorder, log)


if __name__ == "__main__":
    main()
