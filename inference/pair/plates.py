"""The plate "data" of a pair: one, at dim=-1, of the size of the batch, around the sites of each data point."""

from typing import Any

from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.pair.contract import ProgramLike, Site, takes
from pyrovae.inference.pair.tracing import PairTrace, sites

__all__ = ["check_outside", "check_plate", "check_plates", "check_shape", "frames", "outside", "plate_line"]


def check_plates(
    model: ProgramLike, guide: ProgramLike, pair: PairTrace, size: int, data_size: int | None = None
) -> None:
    """Raise if the plate "data" of a run is not that of its batch, or does not hold the observed sites.

    Args:
        model, guide: the pair.
        pair: a run of both programs.
        size: B, the size of the batch.
        data_size: the number of all data points, where the caller knows it.

    Raises:
        PairError, ShapeError: as in `check_plate`, `check_shape` and `check_outside`.
    """
    for name, program, trace in zip(("guide", "model"), (guide, model), pair, strict=True):
        for site in sites(trace).values():
            check_plate(name, program, site, size, data_size)
            if site["is_observed"] and site["value"].dim():
                check_shape(name, site, size)
    check_outside(pair, size, shared=True)


def check_plate(name: str, program: ProgramLike, site: Site, size: int, data_size: int | None) -> None:
    """Raise if the plate "data" of a site has another size or place than the batch, or scales the loss.

    Args:
        name: "model" or "guide", for the error.
        program: that program.
        site: a site of it.
        size: B, the size of the batch.
        data_size: the number of all data points, where the caller knows it.

    Raises:
        PairError: the plate has another size or place, or is a subsample of more data points than the program knows of.
        ShapeError: the batch shape of the site has dimensions that belong to no plate.
    """
    data = frames(site).get("data")
    if data is None:
        return
    if data.dim != -1 or data.size != size:
        raise PairError(
            f"Site '{site['name']}' of the {name} requires the plate 'data' of size {size} at dim -1, got size "
            f"{data.size} at dim {data.dim}. Write {plate_line(size)}"
        )
    whole = (data_size or data.full_size) if takes(program, "data_size") else size
    if data.full_size not in (None, size, whole):
        times = f"{data.full_size / size:.4g}"
        raise PairError(
            f"Site '{site['name']}' of the {name} requires the plate 'data' of size {size}, that of the batch, got one "
            f"of {data.full_size} data points, which multiplies its log-probability by {times}. Write "
            f"{plate_line(size)} A program that names data_size in its signature may write "
            'pyro.plate("data", data_size, subsample_size=len(x), dim=-1).'
        )
    _check_depth(name, site)


def check_shape(program: str, site: Site, size: int) -> None:
    """Raise if a value has another shape than its distribution, which would broadcast it.

    Args:
        program: "model" or "guide", for the error.
        site: a site of it.
        size: B, the size of the batch.

    Raises:
        PairError: the site is outside the plate "data".
        ShapeError: the value has another shape.
    """
    batch, event, got = tuple(site["fn"].batch_shape), tuple(site["fn"].event_shape), tuple(site["value"].shape)
    if got == batch + event:
        return
    if "data" not in frames(site):
        raise outside(program, site, size)
    whose = "data" if site["is_observed"] else "guide's value"
    decoder = "; a decoder emits likelihood.params_shape, MLP(latent_dim, likelihood.params_shape)"
    decoder = decoder if site["is_observed"] else ""
    if event == () and got == (size, *batch):  # the plate has not expanded the distribution
        kind = type(site["fn"])
        raise ShapeError(
            f"Site '{site['name']}' of the {program} requires a distribution whose plate can expand it to the batch "
            f"shape ({size},), got {kind.__module__.split('.')[0]}'s {kind.__name__} of batch shape {batch} and event "
            f"shape (), and the {whose} {got}. Write pyro.distributions.{kind.__name__}(...).to_event({len(batch)})."
        )
    raise ShapeError(
        f"Site '{site['name']}' of the {program} requires a value of shape {batch + event} (batch {batch}, event "
        f"{event}), got the {whose} {got}. Build the prior, the encoder and the decoder for the same event "
        f"shapes{decoder}."
    )


def check_outside(pair: PairTrace, size: int, *, shared: bool) -> None:
    """Raise if a site that requires the plate "data" is outside.

    Args:
        pair: a run of both programs.
        size: B, the size of the batch.
        shared: whether a latent may be outside, which all data points share; an observed site may not.

    Raises:
        PairError: a site is outside.
        ShapeError: as in `check_plate`.
    """
    for name, trace in zip(("guide", "model"), pair, strict=True):
        for site in sites(trace).values():
            if "data" not in frames(site) and (site["is_observed"] or not shared):
                raise outside(name, site, size)
            _check_depth(name, site)


def _check_depth(name: str, site: Site) -> None:
    """The batch shape of a site has only the dimensions of the site's plates."""
    batch = tuple(site["fn"].batch_shape)
    depth = max((-frame.dim for frame in frames(site).values() if frame.dim is not None), default=0)
    if len(batch) > depth:
        raise ShapeError(
            f"Site '{site['name']}' of the {name} requires a batch shape of {depth} dimension(s), those of its "
            f"plates, got {batch}: dimensions of one data point are in the batch shape. End the distribution with "
            f".to_event({len(batch) - depth})."
        )


def frames(site: Site) -> dict[str, Any]:
    """The plates of a site, by name.

    Args:
        site: a site of a trace, or its message.
    """
    return {frame.name: frame for frame in site["cond_indep_stack"]}


def plate_line(size: int) -> str:
    """The line that opens the plate "data".

    Args:
        size: the size of the batch.
    """
    return f'`with pyro.plate("data", {size}, dim=-1):`, where {size} is len(x).'


def outside(name: str, site: Site, size: int) -> PairError:
    """The error about a site that is not in the plate "data".

    Args:
        name: "model" or "guide".
        site: the site.
        size: the size of the batch.
    """
    return PairError(
        f"The {name} requires its sites in the plate 'data', got site '{site['name']}' outside the plate 'data' "
        f"(its plates: {list(frames(site)) or 'none'}). Put it inside {plate_line(size)} A latent that all data points "
        "share stays outside: then name data_size in the program's signature, and subsample the plate."
    )
