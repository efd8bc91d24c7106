"""The fuzzer: public functions called with one argument that is wrong, or with none.

A call ends well in one of three ways: a result that is finite (and right, where a closed form is known), an error of
`pyrovae.errors`, or a TypeError that names the argument. Everything else is a finding: another exception, a hang, a
result that is not finite, a value without a meaning that is taken without a word.

`make test` runs a few examples of each function, the same ones every time. `make fuzz` runs an hour of new ones
(PYROVAE_FUZZ_SECONDS, shared among the tests). PYROVAE_FUZZ_FINDINGS=FILE writes findings there and goes on.
"""

import dataclasses
import inspect
import math
import os
import re
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from itertools import count as counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pyro
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from torch import Tensor

from pyrovae.errors import PyrovaeError

SECONDS = float(os.environ.get("PYROVAE_FUZZ_SECONDS", "0"))
FINDINGS = os.environ.get("PYROVAE_FUZZ_FINDINGS")
LIMIT, PATIENCE = 10, 120
"""Seconds of computing, and seconds on the clock, after which a call counts as hanging."""

KNOWN = {
    tuple(line.split("#")[0].split()[:2])
    for line in (Path(__file__).parent / "known.txt").read_text().splitlines()
    if line.split("#")[0].strip()
}
"""Findings that are not mended yet: function, `*` for all, and argument."""


class Hang(BaseException):
    """A call takes longer than `LIMIT` seconds."""


class Kind(NamedTuple):
    """What an argument may be.

    Attributes:
        valid: values that a call must work with.
        hostile: any other values; each may be refused or taken.
        refused: values without a meaning, which a call must refuse.
    """

    valid: st.SearchStrategy
    hostile: st.SearchStrategy
    refused: st.SearchStrategy = st.nothing()


class Case(NamedTuple):
    """A function to call.

    Attributes:
        name: its name in a finding.
        call: the function.
        arguments: the kind of each argument, by name.
        check: looks at a result of valid arguments and raises AssertionError where it is wrong.
        examples: how many examples `make test` runs.
    """

    name: str
    call: Callable[..., Any]
    arguments: Mapping[str, Kind]
    check: Callable[..., None] = lambda result, **arguments: None
    examples: int = 25


# Kinds of arguments -----------------------------------------------------------------------------------------------

ALIENS = [None, "x", "", "3", b"3", 3 + 4j, [], {}, (1, 2), object(), int, np.float64(2), np.zeros(2), Path("x"), len]


def sampled(*values: Any) -> st.SearchStrategy:
    return st.sampled_from(values)


def one_of(values: st.SearchStrategy) -> Kind:
    """An argument that is always valid."""
    return Kind(values, st.nothing())


def count(low: int = 1, high: int = 4) -> Kind:
    strangers = (1.5, math.nan, math.inf, -math.inf, "3", b"3", 3 + 4j, [], (1, 2), torch.zeros(3))
    refused = sampled(*strangers, -(2**63), min(low, 1) - 9)
    return Kind(st.integers(low, high), sampled(None, 0, -1, True, 2**63, 2.0, torch.tensor(2)), refused)


def seeds() -> Kind:
    refused = sampled(1.5, math.nan, "0", [], 3 + 4j, torch.zeros(3), math.inf)
    return Kind(st.integers(0, 2**31), sampled(-1, 2**32, 2**64, 1_764_364_800 * 10**9, -(2**70), None, True), refused)


def real(low: float, high: float, *, refused: Any = ()) -> Kind:
    never = sampled(math.nan, "x", [], {}, 3 + 4j, torch.zeros(3), *refused)
    extreme = sampled(None, 0, 0.0, -1.0, 1e308, -1e308, math.inf, -math.inf, 5e-324, True)
    return Kind(st.floats(low, high), extreme, never)


def flag() -> Kind:
    return Kind(st.booleans(), sampled(None, 0, 1, 2, "no", [], math.nan))


def choice(*names: Any) -> Kind:
    return Kind(sampled(*names), sampled(None, [], True), sampled("nonsense", "", "\0", 3, math.nan, object()))


def name(*names: Any) -> Kind:
    """The name of a site, for a constructor: it knows no pair, so another name is refused later."""
    return Kind(sampled(*names), sampled("nonsense", "\0", None, [], True), sampled("", 3, math.nan, object()))


def any_of(*values: Any) -> Kind:
    """Valid values, and strangers that a call must refuse."""
    return Kind(sampled(*values), sampled(None, True, 0), sampled(*ALIENS[1:]))


def shape(*values: Any) -> Kind:
    """An event shape, or the widths of layers."""
    hostile = sampled(None, True, 2**63, (1, 2), [], (), np.zeros(2), (3, 3, 3, 3, 3), np.int64(3))
    return Kind(
        sampled(*values), hostile, sampled("x", 3 + 4j, 1.5, math.nan, object(), int, -1, 0, (-1,), (1.5, 2), ["a"])
    )


def twisted(tensor: Tensor) -> list[Any]:
    """What somebody may pass in place of a tensor."""
    tensor = tensor.detach()
    wide = tensor if tensor.is_complex() else tensor.double()
    fills = [wide.clone().fill_(fill) for fill in (math.nan, math.inf, -math.inf, 1e30, -1e30, 1e-40)]
    parts = [tensor[:0], tensor[:1], tensor[..., :0], tensor[..., :-1], tensor[None], tensor.flatten(), tensor.sum()]
    kinds = (torch.half, torch.long, torch.bool, torch.float, torch.double, torch.complex64, torch.uint8)
    types = [tensor.to(kind) for kind in kinds]
    places = [tensor.to("meta"), tensor.to_sparse(), tensor.expand(2, *tensor.shape)]
    strangers = [tensor.float().clone().requires_grad_(), tensor.numpy(), tensor.tolist(), *ALIENS, 0, -1, 2.5]
    return [*fills, *parts, *types, *places, *strangers]


def tensor(*tensors: Tensor) -> Kind:
    return Kind(sampled(*tensors), st.sampled_from(twisted(tensors[0])))


def batch(good: Mapping[str, Tensor], name: str = "x") -> Kind:
    """A batch with the tensor `name`, which is fuzzed."""
    wrong: list[Any] = [dict(good) | {name: part} for part in twisted(good[name])]
    wrong += [{}, {"other": good[name]}, dict(good) | {3: good[name]}, dict(good) | {"extra": good[name][:1]}]
    wrong += [torch.utils.data.TensorDataset(good[name]), torch.utils.data.DataLoader(good[name]), *twisted(good[name])]
    return Kind(st.just(dict(good)), st.sampled_from(wrong))


def program(good: Any) -> Kind:
    others = (None, 3, "vae", [], int, torch.nn.Linear(2, 2), torch.nn.Linear, lambda: None)
    return Kind(st.just(good), sampled(*others))


def same(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(batch)


def transforms() -> Kind:
    others = (3, "Scale", [], lambda batch: None, lambda batch: {}, lambda batch: batch["x"])
    return Kind(sampled(None, same), sampled(*others))


COMMON: dict[str, Callable[[], Kind]] = {
    "compile": lambda: Kind(sampled(None, False), sampled([], 0)),  # compiling takes too long here
    "corrected": flag, "given": lambda: Kind(st.just(None), sampled({}, 3, "x", [], {"x": 3}, {"y": torch.zeros(2)})),
    "latent": lambda: choice("z"), "level": lambda: real(0.05, 0.95, refused=(-0.1, 1.5)), "log_weights": flag,
    "lr": lambda: real(1e-4, 1e-2, refused=(math.inf, -math.inf, -1.0)), "mean": flag,
    "memory": lambda: Kind(sampled(2**12, 2**28), sampled(1, 0, -1, 2**70, True), sampled(math.nan, "x", [], 3 + 4j)),
    "num_chains": count, "num_copies": count, "num_dims": count, "num_imputations": count, "num_particles": count,
    "num_refined": lambda: count(0), "num_samples": lambda: count(2, 6), "num_simulations": lambda: count(3, 6),
    "num_steps": count, "num_warmup": count, "predictive": flag, "prior": flag,
    "progress": lambda: one_of(st.just(False)),
    "seed": seeds, "site": lambda: choice("x"), "size": count, "transform": transforms,
    "extent": lambda: real(0.5, 3.0), "stretch": lambda: real(0.5, 3.0), "slope": lambda: real(0.5, 3.0),
    "rate": lambda: real(0.1, 0.9, refused=(-0.5, 1.5, math.inf)), "num_votes": lambda: count(20, 30),
}  # fmt: skip
"""What arguments of these names may be, in every function that has them."""


def case(function: Callable[..., Any], *, check: Any = None, examples: int = 25, **own: Kind) -> Case:
    """A case with the given kinds, and those of `COMMON` for the other arguments whose names are there."""
    names = inspect.signature(function).parameters
    arguments = {name: own[name] if name in own else COMMON[name]() for name in names if name in own or name in COMMON}
    made = Case(function.__name__, function, arguments, examples=examples)
    return made._replace(check=check) if check else made


# Running a case ---------------------------------------------------------------------------------------------------


@contextmanager
def limited():
    """Raise `Hang` in a call that takes too long."""

    def ring(*_):
        raise Hang

    timers = [(signal.SIGPROF, signal.ITIMER_PROF, LIMIT), (signal.SIGALRM, signal.ITIMER_REAL, PATIENCE)]
    before = [signal.signal(number, ring) for number, _, _ in timers]
    try:
        for _, timer, seconds in timers:
            signal.setitimer(timer, seconds)
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


TALLY: Counter[str] = Counter()
"""How many calls ended in which way; `make fuzz` prints it."""


def outcome(call: Callable[[], Any], argument: str = "") -> tuple[str, Any]:
    """`("", result)`, `("refused", error)`, or what went wrong and the error."""
    happened, result = _outcome(call, argument)
    TALLY[{"": "results", "refused": "typed errors"}.get(happened, "other exceptions")] += 1
    return happened, result


def _outcome(call: Callable[[], Any], argument: str) -> tuple[str, Any]:
    pyro.clear_param_store()
    try:
        with limited(), warnings.catch_warnings(action="ignore"):
            return "", call()
    except PyrovaeError as error:
        return "refused", error
    except TypeError as error:
        named = argument and re.search(rf"\b{argument}\b", str(error))
        return ("refused" if named else "TypeError"), error
    except (Hang, Exception) as error:
        return type(error).__name__, error


def finite(result: Any) -> bool:
    """Whether all numbers of a result are finite. A standard error, or what is named after one, may be unknown."""
    if isinstance(result, Tensor):
        return result.device.type == "meta" or not result.is_floating_point() or bool(result.isfinite().all())
    if isinstance(result, float):
        return math.isfinite(result)
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        result = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    if hasattr(result, "_asdict"):
        result = result._asdict()
    if isinstance(result, Mapping):
        unknown = "error|khat|r_hat|effective" + ("|scale|shift|ratio|mean_z" if "r_hat" in result else "")
        return all(finite(part) for name, part in result.items() if not re.search(unknown, str(name)))
    return all(map(finite, result)) if isinstance(result, list | tuple) else True


def is_finite_input(value: Any) -> bool:
    try:
        return finite(value)
    except Exception:
        return False


def drawn(case: Case, data: st.DataObject) -> tuple[dict[str, Any], str, bool]:
    """Arguments of a call, the one that is hostile, and whether it must be refused."""
    arguments = {name: data.draw(kind.valid, label=name) for name, kind in case.arguments.items()}
    able = [name for name, kind in case.arguments.items() if not kind.hostile.is_empty]
    argument = data.draw(sampled("", *able), label="hostile")
    if not argument:
        return arguments, "", False
    kind = case.arguments[argument]
    never = not kind.refused.is_empty and data.draw(st.booleans(), label="must be refused")
    arguments[argument] = data.draw(kind.refused if never else kind.hostile, label=argument)
    return arguments, argument, never


def found(case: Case, arguments: dict[str, Any], argument: str, never: bool) -> tuple[str, Any]:
    """What is wrong with a call; an empty word where all is well."""
    happened, result = outcome(lambda: case.call(**arguments), argument)
    if happened == "refused":
        return ("", None) if argument else ("ValidRefused", result)
    if happened:
        return happened, result
    if never:
        return "Accepted", result
    if is_finite_input(arguments.get(argument)) and not finite(result):
        return "NotFinite", result
    if not argument:
        try:
            case.check(result, **arguments)
        except AssertionError as error:
            return "Wrong", error
    return "", None


def judge(case: Case, data: st.DataObject) -> None:
    arguments, argument, never = drawn(case, data)
    what, evidence = found(case, arguments, argument, never)
    if what:
        report(case.name, argument or "-", what, arguments.get(argument), evidence)


def report(name: str, argument: str, what: str, value: Any, evidence: Any) -> None:
    """Fail with a finding, unless it is known; or write it down."""
    if {(name, argument), ("*", argument)} & KNOWN:
        return
    line = f"{name} {argument} {what}  # {value!r:.200}: {str(evidence)!r:.160}".replace("\n", " ")
    if not FINDINGS:
        raise AssertionError(line)
    with Path(FINDINGS).open("a") as file:
        file.write(line + "\n")


def run(check: Callable[[st.DataObject], None], examples: int, share: float) -> None:
    """Run a check on the same few examples, or for a share of the time that the environment gives."""
    quiet = settings(
        max_examples=examples if not SECONDS else 200,
        derandomize=not SECONDS,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink] if SECONDS and not FINDINGS else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    end = time.monotonic() + SECONDS * share
    for number in counter():
        body = quiet(given(st.data())(check))
        (seed(time.time_ns())(body) if SECONDS else body)()
        if time.monotonic() >= end or number > 10**6:
            return


@pytest.fixture
def fuzz(request):
    """Run a case, or a check of one drawn thing: `fuzz(case)`, `fuzz(check=function, examples=50)`."""
    fuzzed = [item for item in request.session.items if "fuzz" in item.nodeid.split("/")]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

    def start(case=None, *, check=None, examples=None):
        todo = check or (lambda data: judge(case, data))
        run(todo, examples or case.examples, workers / max(1, len(fuzzed)))

    return start


@pytest.fixture(scope="session")
def kinds():
    """The kinds of arguments, and how a call is judged."""
    made = (
        any_of,
        batch,
        choice,
        count,
        flag,
        name,
        one_of,
        program,
        real,
        sampled,
        seeds,
        shape,
        tensor,
        transforms,
        twisted,
    )
    judged = (Case, Kind, case, finite, outcome, report)
    return SimpleNamespace(**{f.__name__: f for f in (*made, *judged)})


def pytest_sessionfinish(session):
    """A worker hands its tally to the process that started it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["fuzz"] = dict(TALLY)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    TALLY.update(getattr(node, "workeroutput", {}).get("fuzz", {}))


def pytest_terminal_summary(terminalreporter):
    if TALLY:
        counts = ", ".join(f"{number:,} {what}" for what, number in sorted(TALLY.items()))
        terminalreporter.write_line(f"fuzz: {sum(TALLY.values()):,} calls: {counts}")
