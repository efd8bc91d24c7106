"""Every loss of Pyro, losses of one's own, and losses that change between steps."""

from collections.abc import Iterator
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import infer
from torch import Tensor

pytestmark = pytest.mark.filterwarnings("ignore:.*ound no sample sites configured for enumeration")


def free(x: Tensor) -> None:
    """A model whose data can be drawn, for losses without a likelihood."""
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def discrete(x: Tensor) -> None:
    """A component that is summed out."""
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        y = pyro.sample("y", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(z + y, 1.0), obs=x)


def scored(x: Tensor) -> None:
    """A draw that has no gradient of its own."""
    rate = pyro.param("rate", torch.tensor(1.5), constraint=dist.constraints.positive)
    pyro.sample("z", dist.Poisson(rate))


def counted(x: Tensor) -> None:
    z = pyro.sample("z", dist.Poisson(1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


class OnlyGradients:
    """A loss with nothing but `loss_and_grads`."""

    def loss_and_grads(self, model: Any, guide: Any, *args: Any) -> float:
        return infer.Trace_ELBO().loss_and_grads(model, guide, *args)


def a_function(model: Any, guide: Any, *args: Any) -> Tensor:
    return infer.Trace_ELBO().differentiable_loss(model, guide, *args)


LOSSES: dict[str, Any] = {
    "Trace_ELBO": infer.Trace_ELBO,
    "two_particles": lambda: infer.Trace_ELBO(num_particles=2),
    "vectorised": lambda: infer.Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1),
    "TraceGraph_ELBO": infer.TraceGraph_ELBO,
    "TraceMeanField_ELBO": infer.TraceMeanField_ELBO,
    "TraceEnum_ELBO": infer.TraceEnum_ELBO,
    "TraceTMC_ELBO": infer.TraceTMC_ELBO,
    "RenyiELBO": lambda: infer.RenyiELBO(alpha=0.5, num_particles=2),
    "ReweightedWakeSleep": lambda: infer.ReweightedWakeSleep(num_particles=2),
    "TraceTailAdaptive_ELBO": lambda: infer.TraceTailAdaptive_ELBO(num_particles=2, vectorize_particles=True),
    "EnergyDistance": infer.EnergyDistance,
    "a_function": lambda: a_function,
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, as_pyro):
    def program(own: Any) -> Iterator[Any]:
        svi = own.svi(free, loss=LOSSES[name]())
        yield from own.steps(svi)
        if name != "TraceTailAdaptive_ELBO":
            yield svi.evaluate_loss(own.x)

    as_pyro(program)


@pytest.mark.parametrize("loss", [infer.JitTrace_ELBO, infer.JitTraceGraph_ELBO, infer.JitTraceMeanField_ELBO])
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit")
def test_losses_that_compile_by_themselves(loss, as_pyro):
    warned, graphs = as_pyro(lambda own: own.steps(own.svi(free, loss=loss(ignore_jit_warnings=True))))
    assert graphs == 0
    assert any("torch.jit.trace" in text for text in warned)


def test_a_loss_with_only_gradients(as_pyro):
    def program(own: Any) -> Iterator[Any]:
        yield from own.steps(own.svi(free, loss=OnlyGradients() if own.is_ours else infer.Trace_ELBO()))

    as_pyro(program)


@pytest.mark.parametrize("loss", [infer.TraceEnum_ELBO, infer.TraceTMC_ELBO])
def test_a_component_that_is_summed_out(loss, as_pyro):
    as_pyro(lambda own: own.steps(own.svi(discrete, loss=loss(max_plate_nesting=1))))


@pytest.mark.parametrize("loss", [infer.Trace_ELBO, infer.TraceGraph_ELBO, infer.TraceEnum_ELBO])
def test_a_draw_without_a_gradient(loss, as_pyro):
    as_pyro(lambda own: own.steps(own.svi(counted, scored, loss=loss())))


def test_a_baseline(as_pyro):
    def guide(x: Tensor) -> None:
        rate = pyro.param("rate", torch.tensor(1.5), constraint=dist.constraints.positive)
        pyro.sample("z", dist.Poisson(rate), infer={"baseline": {"use_decaying_avg_baseline": True}})

    as_pyro(lambda own: own.steps(own.svi(counted, guide, loss=infer.TraceGraph_ELBO())))


def test_the_number_of_particles_changes(as_pyro):
    def program(own: Any) -> Iterator[Any]:
        loss = infer.Trace_ELBO()
        svi = own.svi(free, loss=loss)
        yield from own.steps(svi, lambda step: setattr(loss, "num_particles", 1 + step // 4))

    as_pyro(program)


def test_a_loss_that_is_replaced(as_pyro):
    def program(own: Any) -> Iterator[Any]:
        svi, other = own.svi(free), infer.TraceMeanField_ELBO()

        def change(step: int) -> None:
            if step == 6:
                svi.loss, svi.loss_and_grads = other.loss, other.loss_and_grads

        yield from own.steps(svi, change)

    as_pyro(program)


def test_the_functions_of_an_svi(as_pyro):
    def program(own: Any) -> Iterator[Any]:
        svi = own.svi(free)
        for _ in range(4):
            yield svi.step(own.x)
            yield svi.loss(svi.model, svi.guide, own.x)
            yield svi.loss_and_grads(svi.model, svi.guide, own.x)  # leaves gradients, to which the next step adds
            yield svi.evaluate_loss(own.x)

    as_pyro(program)


def test_a_model_that_is_replaced(as_pyro):
    def program(own: Any) -> Iterator[Any]:
        svi = own.svi(free)
        yield from own.steps(svi, lambda step: setattr(svi, "model", pyro.poutine.scale(free, scale=0.5)))

    as_pyro(program)
