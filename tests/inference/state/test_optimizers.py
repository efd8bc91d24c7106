"""Every optimizer of Pyro, their settings that change, and their state that is shared, saved and loaded."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import pyro
import pytest
import torch
from pyro.optim import PyroOptim

torch_optim = torch.optim


def scheduled(kind: Callable[..., Any], **settings: Any) -> Callable[[], Any]:
    return lambda: kind({"optimizer": torch_optim.Adam, "optim_args": {"lr": 0.05}} | settings)


def by_name(name: str) -> dict[str, float]:
    return {"lr": 0.1 if name == "loc" else 0.01}


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "Adam": lambda: pyro.optim.Adam({"lr": 0.05}),
    "Adam_with_decay": lambda: pyro.optim.Adam({"lr": 0.05, "weight_decay": 0.1}),
    "Adam_amsgrad": lambda: pyro.optim.Adam({"lr": 0.05, "amsgrad": True}),
    "Adam_maximize": lambda: pyro.optim.Adam({"lr": 0.05, "maximize": True}),
    "Adam_without_momentum": lambda: pyro.optim.Adam({"lr": 0.05, "betas": (0.0, 0.9)}),
    "AdamW": lambda: pyro.optim.AdamW({"lr": 0.05, "weight_decay": 0.1}),
    "SGD": lambda: pyro.optim.SGD({"lr": 0.01}),
    "SGD_momentum": lambda: pyro.optim.SGD({"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}),
    "SGD_nesterov": lambda: pyro.optim.SGD({"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    "SGD_dampening": lambda: pyro.optim.SGD({"lr": 0.01, "momentum": 0.9, "dampening": 0.5}),
    "ClippedAdam": lambda: pyro.optim.ClippedAdam({"lr": 0.05, "clip_norm": 0.5, "lrd": 0.9}),
    "ClippedAdam_centred": lambda: pyro.optim.ClippedAdam({"lr": 0.05, "centered_variance": True, "weight_decay": 0.1}),
    "AdagradRMSProp": lambda: pyro.optim.AdagradRMSProp({"eta": 0.1}),
    "DCTAdam": lambda: pyro.optim.DCTAdam({"lr": 0.05}),
    "RMSprop": lambda: pyro.optim.RMSprop({"lr": 0.01}),
    "Adagrad": lambda: pyro.optim.Adagrad({"lr": 0.1}),
    "Adadelta": lambda: pyro.optim.Adadelta({"lr": 0.1}),
    "Adamax": lambda: pyro.optim.Adamax({"lr": 0.05}),
    "Rprop": lambda: pyro.optim.Rprop({"lr": 0.01}),
    "ASGD": lambda: pyro.optim.ASGD({"lr": 0.01}),
    "by_name": lambda: pyro.optim.Adam(by_name),
    "clip_norm": lambda: pyro.optim.Adam({"lr": 0.05}, {"clip_norm": 0.5}),
    "clip_value": lambda: pyro.optim.SGD({"lr": 0.05}, {"clip_value": 0.5}),
    "ExponentialLR": scheduled(pyro.optim.ExponentialLR, gamma=0.8),
    "StepLR": scheduled(pyro.optim.StepLR, step_size=3, gamma=0.1),
    "CosineAnnealingLR": scheduled(pyro.optim.CosineAnnealingLR, T_max=6),
    "OneCycleLR": scheduled(pyro.optim.OneCycleLR, max_lr=0.1, total_steps=20),
    "ReduceLROnPlateau": scheduled(pyro.optim.ReduceLROnPlateau, factor=0.1, patience=1),
    "a_wrapper_of_any_optimizer": lambda: PyroOptim(torch_optim.NAdam, {"lr": 0.05}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, as_pyro):
    def program(own: Any) -> Iterator[float]:
        optim = OPTIMIZERS[name]()
        svi = own.svi(own.model, optim=optim)
        for _ in range(12):
            loss = svi.step(own.x)
            if hasattr(optim, "step"):
                optim.step(loss) if name == "ReduceLROnPlateau" else optim.step()
            yield loss
        yield from (pyro.param(name).item() for name in ("loc", "scale"))

    warned, graphs = as_pyro(program)
    assert not warned
    assert graphs == (0 if name == "OneCycleLR" else 1), "OneCycleLR changes the betas at each step"


def rate(optim: Any, value: float) -> None:
    for one in optim.optim_objs.values():
        one.param_groups[0]["lr"] = value


def betas(optim: Any, _: Any = None) -> None:
    for one in optim.optim_objs.values():
        one.param_groups[0]["betas"] = (0.5, 0.9)


def one_beta(optim: Any, _: Any = None) -> None:
    next(iter(optim.optim_objs.values())).param_groups[0]["betas"] = (0.5, 0.9)


def reloaded(optim: Any) -> None:
    for one in optim.optim_objs.values():
        one.load_state_dict(one.state_dict())


def own_step(optim: Any) -> None:
    parameter = pyro.get_param_store()._params["loc"]
    parameter.grad = torch.ones(())
    optim.optim_objs[parameter].step()
    parameter.grad = torch.zeros(())


MIDWAY: dict[str, Callable[[Any], Any]] = {
    "the_rate": lambda optim: rate(optim, 0.5),
    "a_rate_of_zero": lambda optim: rate(optim, 0.0),
    "a_rate_that_is_a_tensor": lambda optim: rate(optim, torch.tensor(0.2)),
    "betas": betas,
    "betas_of_one_parameter": one_beta,
    "the_state_is_loaded": reloaded,
    "the_objects_are_dropped": lambda optim: optim.optim_objs.clear(),
    "one_state_is_dropped": lambda optim: next(iter(optim.optim_objs.values())).state.clear(),
    "a_step_by_hand": own_step,
}


@pytest.mark.parametrize("name", MIDWAY)
@pytest.mark.parametrize("kind", [pyro.optim.Adam, pyro.optim.ClippedAdam])
def test_what_changes_midway(name, kind, as_pyro):
    def program(own: Any) -> Iterator[float]:
        optim = kind({"lr": 0.05})
        svi = own.svi(own.model, optim=optim)
        yield from own.steps(svi, lambda step: MIDWAY[name](optim) if step in (5, 9) else None)

    as_pyro(program)


def saved(optim: Any) -> Any:
    """What `optim.save` writes, read by another optimizer."""
    file = io.BytesIO()
    torch.save(optim.get_state(), file)
    file.seek(0)
    other = type(optim)(optim.pt_optim_constructor, optim.pt_optim_args)
    other.set_state(torch.load(file, weights_only=False))
    return other


@pytest.mark.parametrize("kind", [pyro.optim.Adam, pyro.optim.ClippedAdam, pyro.optim.SGD])
def test_a_state_that_is_saved_and_loaded(kind, as_pyro):
    def program(own: Any) -> Iterator[float]:
        optim = kind({"lr": 0.01} | ({"momentum": 0.9} if kind is pyro.optim.SGD else {}))
        yield from own.steps(own.svi(own.model, optim=optim))
        yield from own.steps(own.svi(own.model, optim=saved(optim)))

    as_pyro(program)


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("kind", [pyro.optim.Adam, pyro.optim.ClippedAdam])
def test_an_svi_that_is_made_anew(every, kind, as_pyro):
    def program(own: Any) -> Iterator[float]:
        optim = kind({"lr": 0.05})
        for step in range(12):
            if step % every == 0:
                svi = own.svi(own.model, optim=optim)
            yield svi.step(own.x)

    as_pyro(program)


def test_one_optimizer_of_two(as_pyro):
    def program(own: Any) -> Iterator[float]:
        optim = pyro.optim.Adam({"lr": 0.05})
        pair = [own.svi(own.model, optim=optim), own.svi(lambda x: own.model(2 * x), optim=optim)]
        for step in range(24):
            yield pair[step % 2].step(own.x)

    as_pyro(program)


def test_an_optimizer_that_is_replaced(as_pyro):
    def program(own: Any) -> Iterator[float]:
        svi = own.svi(own.model)
        change = lambda step: setattr(svi, "optim", pyro.optim.SGD({"lr": 0.01})) if step == 6 else None  # noqa: E731
        yield from own.steps(svi, change)

    as_pyro(program)


def test_a_wrapper_with_a_call_of_its_own(as_pyro):
    class Doubled(PyroOptim):
        def __call__(self, params: Any, *args: Any, **kwargs: Any) -> None:
            super().__call__(params)
            super().__call__(params)

    def program(own: Any) -> Iterator[float]:
        yield from own.steps(own.svi(own.model, optim=Doubled(torch_optim.Adam, {"lr": 0.05})))

    as_pyro(program)
