"""What surrounds a step: handlers, modes of torch and Pyro, errors, values that are not numbers, side effects."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor

from pyrovae.inference import SVI

AROUND: dict[str, Callable[[], Any]] = {
    "mask": lambda: poutine.mask(mask=torch.tensor(False)),
    "scale": lambda: poutine.scale(scale=0.5),
    "block": poutine.block,
    "no_validation": lambda: pyro.validation_enabled(False),
    "deterministic": lambda: contextlib.nullcontext(torch.use_deterministic_algorithms(False)),
    "anomaly_detection": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.mark.parametrize("name", AROUND)
@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_what_is_open_around_a_step(name, as_pyro):
    def program(own: Any) -> Iterator[float]:
        svi = own.svi(own.model)
        for step in range(12):
            with AROUND[name]() if step % 3 == 2 else contextlib.nullcontext():
                yield svi.step(own.x)

    as_pyro(program)


def test_handlers_around_a_step_are_named(as_pyro):
    def program(own: Any) -> Iterator[float]:
        svi = own.svi(own.model)
        for _ in range(12):
            with poutine.scale(scale=0.5):
                yield svi.step(own.x)

    warned, _ = as_pyro(program)
    assert len(warned) == 1
    assert "handlers are open around the step" in warned[0]


def test_another_default_type(as_pyro):
    def program(own: Any) -> Iterator[float]:
        svi = own.svi(own.model)
        try:
            for step in range(12):
                torch.set_default_dtype(torch.float64 if step >= 6 else torch.float32)
                yield svi.step(own.x)
        finally:
            torch.set_default_dtype(torch.float32)

    as_pyro(program)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.filterwarnings("ignore:Encountered")
def test_data_that_are_no_numbers(bad, as_pyro):
    """Pyro raises where it validates, and otherwise goes on with numbers that are none."""

    def program(own: Any) -> Iterator[float]:
        svi = own.svi(own.model)
        for step in range(12):
            x = own.x.clone()
            x[0] = bad if step == 6 else 0.0
            try:
                yield svi.step(x)
            except ValueError:
                yield -1.0

    as_pyro(program)


@pytest.mark.parametrize("validate", [True, False])
def test_data_outside_of_the_support(validate, as_pyro):
    def program(own: Any) -> Iterator[float]:
        def model(x: Tensor) -> None:
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Bernoulli(logits=z.expand(len(x))), obs=x)

        svi = own.svi(model)
        with pyro.validation_enabled(validate):
            for step in range(12):
                try:
                    yield svi.step((own.x > 0).float() * (3.0 if step == 7 else 1.0))
                except ValueError:
                    yield -1.0

    as_pyro(program)


def test_an_error_of_the_program(as_pyro):
    def program(own: Any) -> Iterator[float]:
        def model(x: Tensor, fails: bool) -> None:
            own.model(x)
            if fails:
                raise ArithmeticError

        svi = own.svi(model)
        for step in range(12):
            try:
                yield svi.step(own.x, step % 4 == 3)
            except ArithmeticError:
                yield -1.0

    as_pyro(program)


def test_a_tensor_that_the_program_keeps(as_pyro):
    def program(own: Any) -> Iterator[float]:
        class Model(torch.nn.Module):
            last = None

            def forward(self, x: Tensor) -> None:
                own.model(x, shift=0.0 if self.last is None else 0.1 * self.last)
                self.last = x.mean()

        model = Model()
        svi = own.svi(model)
        for step in range(12):
            yield svi.step(own.x + step)
            yield model.last.item()

    as_pyro(program)


def test_a_list_that_the_program_fills(as_pyro):
    def program(own: Any) -> Iterator[float]:
        seen: list[Tensor] = []

        def model(x: Tensor) -> None:
            own.model(x)
            seen.append(x.sum())

        svi = own.svi(model)
        for step in range(12):
            yield svi.step(own.x + step)
            yield float(len(seen))
            yield float(seen[-1])

    as_pyro(program)


def test_a_plate_that_is_a_loop(as_pyro):
    def program(own: Any) -> Iterator[float]:
        def model(x: Tensor) -> None:
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            for i in pyro.plate("data", len(x), subsample_size=3):
                pyro.sample(f"x{i}", dist.Normal(z, 1.0), obs=x[i])

        yield from own.steps(own.svi(model))

    as_pyro(program)


def test_a_plate_that_subsamples(as_pyro):
    def program(own: Any) -> Iterator[float]:
        def model(x: Tensor) -> None:
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(x), subsample_size=3) as rows:
                pyro.sample("x", dist.Normal(z, 1.0), obs=x[rows])

        yield from own.steps(own.svi(model))

    as_pyro(program)


def test_gradients_inside_the_guide(as_pyro):
    def program(own: Any) -> Iterator[float]:
        def guide(x: Tensor) -> None:
            loc = pyro.param("loc", torch.tensor(0.3))
            (slope,) = torch.autograd.grad((loc - x.mean()) ** 2, loc, create_graph=True)
            pyro.sample("z", dist.Normal(loc - 0.1 * slope, 1.0))

        yield from own.steps(own.svi(own.model, guide))

    as_pyro(program)


def test_a_mode_without_gradients_is_refused_as_by_pyro(as_pyro):
    def program(own: Any) -> Iterator[float]:
        svi = own.svi(own.model)
        for step in range(12):
            with torch.set_grad_enabled(step % 4 != 3):
                yield svi.step(own.x)

    as_pyro(program)


@pytest.mark.parametrize("when", [0, 1, 6])
def test_a_copy_goes_on(when, as_pyro):
    def program(own: Any) -> Iterator[float]:
        svi = own.svi(own.model, _Guide())
        for step in range(12):
            if step == when:
                svi = copy.deepcopy(svi)
            yield svi.step(own.x)

    as_pyro(program)


class _Guide(pyro.nn.PyroModule):
    def __init__(self) -> None:
        super().__init__()
        self.loc = pyro.nn.PyroParam(torch.tensor(0.3))

    def forward(self, x: Tensor) -> None:
        pyro.sample("z", dist.Normal(self.loc, 1.0))


def test_it_is_an_svi_of_pyro():
    svi = SVI(lambda: None, lambda: None, pyro.optim.Adam({"lr": 0.1}), pyro.infer.Trace_ELBO())
    assert isinstance(svi, pyro.infer.SVI)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_runs_of_pyro(as_pyro):
    def program(own: Any) -> Iterator[float]:
        kind = own.kind
        svi = kind(
            own.model, own.guide, pyro.optim.Adam({"lr": 0.1}), pyro.infer.Trace_ELBO(), num_samples=3, num_steps=8
        )
        posterior = svi.run(own.x)
        yield from (trace.nodes["z"]["value"].item() for trace in posterior.exec_traces)

    as_pyro(program)
