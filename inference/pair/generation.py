"""Generation: a model without data draws them, `model(size=16)`, at the sites at which it scores data."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pyro import poutine
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError, PyrovaeError
from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call, name_of, required, takes
from pyrovae.inference.pair.handlers import PutValues
from pyrovae.inference.pair.plates import frames
from pyrovae.inference.pair.running import evaluating
from pyrovae.inference.pair.tracing import PairTrace, datum_first, sites

__all__ = ["check_generates", "generating", "require_no_data", "require_rows", "require_size"]

_LINE = 'def model(x=None, *, size=None), with pyro.plate("data", len(x) if size is None else size, dim=-1)'


def require_size(what: str, model: ProgramLike) -> None:
    """Raise if a model has no argument `size`.

    Args:
        what: the caller's name, for the error.
        model: the program.

    Raises:
        PairError: it has none.
    """
    if not takes(model, "size"):
        raise PairError(
            f"{what} requires a model with an argument size, which generates data, got one without. Write {_LINE}."
        )


def require_no_data(what: str, model: ProgramLike, given: Batch) -> None:
    """Raise if a model cannot be called without data.

    Args:
        what: the caller's name, for the error.
        model: the program.
        given: what it conditions on.

    Raises:
        PairError: it requires an argument that it is not given.
    """
    lacking = [name for name in required(model) if name not in {"size", "data_size", *given}]
    if lacking:
        raise PairError(
            f"{what} requires a model that runs without data, model(size=16), but {name_of(model)} requires "
            f"{', '.join(map(repr, lacking))}. Write {_LINE}; or pass what it conditions on, given={{...}}."
        )


@contextmanager
def generating(what: str, size: int) -> Iterator[None]:
    """Replaces what Python and torch say of a model that fails without data by a PairError with the line to write.

    Args:
        what: the caller's name, for the error.
        size: the number of data points.

    Raises:
        PairError: the model fails.
    """
    try:
        yield
    except PyrovaeError:
        raise
    except (TypeError, AttributeError) as error:
        raise PairError(
            f"{what} requires a model that runs without data, model(size={size}), got an error from it: {error}. Write "
            f"{_LINE}, and obs=x, which may be None."
        ) from error


def require_rows(what: str, site: Site, size: int) -> None:
    """Raise if a site that a model generated has another number of data points.

    Args:
        what: the caller's name, for the error.
        site: a site of the model's trace.
        size: the number of data points that the model was called with.

    Raises:
        PairError: it has.
    """
    data = frames(site).get("data")
    if data is not None and data.size != size:
        raise PairError(
            f"{what} requires a model that generates as many data points as its argument size says, {size}, got "
            f"{data.size} at site '{site['name']}'. Write {_LINE}."
        )


def check_generates(model: ProgramLike, pair: PairTrace, batch: Batch, given: Batch) -> None:
    """Raise if a model does not generate what it scores: another number of data points, two or three, without the data.

    Args:
        model: the program.
        pair: a run of both programs on the batch.
        batch: named tensors.
        given: those that the model conditions on.

    Raises:
        PairError: it does not; the message names the argument or the site.
    """
    size = 3 if batch_size(batch) == 2 else 2
    rows = torch.arange(size) % batch_size(batch)
    more = {name: tensor[rows.to(tensor.device)] for name, tensor in given.items()}
    require_size("A pair", model)
    require_no_data("A pair", model, more)
    improper = PutValues(lambda site: _undrawable(site, pair, rows))
    with evaluating(model), generating("A pair", size), poutine.trace() as tracer, improper:
        call(model, more, size=size, data_size=size)
    drawn = sites(tracer.trace)
    for name, site in pair.observed().items():
        if not (name in batch and takes(model, name)):  # a factor, or a constant of the program
            continue
        if name not in drawn or drawn[name]["is_observed"]:
            got = "an observed site" if name in drawn else f"the sites {', '.join(map(repr, drawn))}"
            raise PairError(
                f"A pair requires a model that draws '{name}' where it gets no data, model(size={size}), got {got}. "
                f'Write pyro.sample("{name}", ..., obs={name}), where {name} is None.'
            )
        require_rows("A pair", drawn[name], size)
        _require_shape(name, tuple(site["fn"].event_shape), drawn[name])


def _undrawable(site: Site, pair: PairTrace, rows: Tensor) -> Tensor | None:
    """The guide's value of a latent whose prior has no draws, as that of a deterministic autoencoder; else None."""
    latent = pair.latent().get(site["name"])
    if latent is None or site["is_observed"]:
        return None
    try:
        site["fn"].sample()
    except (PairError, NotImplementedError):
        value, dim = datum_first(latent[0]), len(site["fn"].batch_shape) - 1
        return value[rows.to(value.device)].movedim(0, dim)
    return None


def _require_shape(name: str, scored: tuple[int, ...], drawn: Site) -> None:
    """Data that are drawn have the shape of data that are scored; sequences may be longer than those of a batch."""
    got = tuple(drawn["fn"].event_shape)
    value: Tensor = drawn["value"]
    sequence = len(scored) == 2 or not value.is_floating_point()
    if got == scored or (sequence and len(got) == len(scored) and got[1:] == scored[1:]):
        return
    raise PairError(
        f"A pair requires a model that generates what it scores, got data of shape {scored} and draws of shape {got} "
        f"at site '{name}'. Write one distribution for both, whose shape does not depend on {name}."
    )
