"""Reasons: what cannot be captured runs eagerly, with one warning that names the user's own line."""

import importlib.util
import random
import threading
import warnings

import pytest
import torch
from torch import nn

from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.compile.reasons import CaptureError, EagerWarning, UnsteadyError, explain
from pyrovae.inference.training.svi import SVI


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
        self.average = torch.zeros(())

    def count(self, x):
        self.calls += 1
        return x * self.calls

    def average_of(self, x):
        self.average = 0.5 * self.average + x.sum()
        return self.average


@pytest.mark.parametrize(
    ("fn", "reason"),
    [
        (lambda m, x: x if x.sum() > 0 else -x, "value of a tensor"),
        (lambda m, x: x[x > 0], "value|shape"),
        (lambda m, x: x * random.random(), "Python or NumPy"),
        (lambda m, x: m.count(x), "the attribute 'calls' changes from call to call"),
        (lambda m, x: m.average_of(x), "'average'"),
    ],
    ids=["branch", "shape", "random", "counter", "state"],
)
def test_what_cannot_be_captured_runs_eagerly_with_one_warning(fn, reason):
    x, results = torch.ones(3), []
    for wrap in (False, True):
        random.seed(0)
        model = Counting()
        call = Compiled(lambda x, m=model: fn(m, x), model) if wrap else lambda x, m=model: fn(m, x)
        if wrap:
            with pytest.warns(EagerWarning, match=reason) as seen:
                results.append([call(x) for _ in range(6)])
            assert len(seen) == 1
        else:
            results.append([call(x) for _ in range(6)])
    torch.testing.assert_close(*results)


def test_no_compiler(monkeypatch):
    from torch._inductor import config, cpp_builder, exc

    importlib.import_module("pyrovae.inference.compile.lowering.cpp")  # keeps the function that is replaced below

    def missing(**_):
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", missing)
    fn, x = Compiled(lambda x: x.sin().sum(1) * 3), torch.ones(5, 7)
    with config.patch(force_disable_caches=True), pytest.warns(EagerWarning, match=r"C\+\+ compiler") as seen:
        results = [fn(x) for _ in range(3)]
    assert len(seen) == 1
    torch.testing.assert_close(results[2], x.sin().sum(1) * 3)


# ------------------------------------------------------------------------------- the user's own line

SOURCE = """
import pyro
import pyro.distributions as dist
import torch


def choose(z):
    return z if z.mean() > 0 else -z  # the line


def model(x):
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(choose(z), 1.0).to_event(1), obs=x)


def guide(x):
    with pyro.plate("data", len(x), dim=-1):
        loc = pyro.param("loc", torch.zeros(2))
        pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))
"""

LINE = SOURCE.splitlines().index("    return z if z.mean() > 0 else -z  # the line") + 1


@pytest.fixture
def own(tmp_path):
    """A module of the user's own, in a file of a temporary folder."""
    path = tmp_path / "my_pair.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("my_pair", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def directly(run):
    run()


def from_deep_down(run, depth=20):
    run() if depth == 0 else from_deep_down(run, depth - 1)


def from_a_thread(run):
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def from_generated_code(run):
    exec("run()", {"run": run})


@pytest.mark.parametrize("way", [directly, from_deep_down, from_a_thread, from_generated_code])
def test_the_warning_names_the_users_own_file_and_line(way, own):
    svi = SVI(own.model, own.guide, (torch.optim.SGD, {"lr": 1e-3}), compile=True)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):  # the first finds the parameters, the second what is read, the third is captured
            way(lambda: svi.step(torch.ones(5, 2)))
    (warning,) = [one for one in seen if one.category is EagerWarning]
    assert (warning.filename, warning.lineno) == (own.__file__, LINE)
    assert f"{own.__file__}:{LINE}: return z if z.mean() > 0 else -z" in str(warning.message)
    assert "value of a tensor" in str(warning.message)


def test_without_a_line_of_the_users_the_reason_stands_alone():
    why = explain(CaptureError("an argument is not hashable"))
    assert why.message == "Runs eagerly, not compiled: an argument is not hashable."
    assert why.filename.endswith("reasons.py")
    assert why.line == 1


def test_the_cause_of_an_error_gives_the_reason():
    class InvalidCxxCompiler(Exception):
        pass

    error = RuntimeError("lowering failed")
    error.__cause__ = InvalidCxxCompiler()
    assert "C++ compiler" in explain(error).message


def test_an_error_that_torch_raises_while_it_handles_one_names_the_first():
    """torch 2.8 has such an error: its tracer reads `args[0]` of an exception without arguments."""
    handler = compile(
        "try:\n    run()\nexcept ValueError:\n    raise IndexError('tuple index')", torch.__file__, "exec"
    )

    def run():
        raise ValueError("get a value out of a tensor")

    with pytest.raises(IndexError) as caught:
        exec(handler, {"run": run})
    why = explain(caught.value.with_traceback(caught.tb.tb_next))
    assert "needs the value of a tensor" in why.message
    assert (why.filename, why.line) == (__file__, run.__code__.co_firstlineno + 1)


def test_an_unsteady_function_is_one_that_cannot_be_captured():
    assert issubclass(UnsteadyError, CaptureError)
