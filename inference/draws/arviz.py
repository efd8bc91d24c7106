"""Arviz."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor

from pyrovae.errors import MissingExtraError, PairError
from pyrovae.inference.draws.draws import Draws, label_of
from pyrovae.version import __version__

__all__ = ["attributes", "coordinates", "datasets", "to_arviz", "wanted"]


def to_arviz(*draws: Draws, chains: int = 1) -> Any:
    """Draws as what ArviZ works on: its `InferenceData` for arviz 0.x, an xarray `DataTree` for arviz 1.x.

    Groups: `posterior`, `posterior_predictive`, `prior`, `prior_predictive`, `log_likelihood`, `sample_stats` (with
    `log_weight` and `effective_draws`), `observed_data`, `constant_data`, those of them that the draws have.
    Dimensions: chain, draw, datum, plates by their names, then `z_dim`, or `channel`, `row`, `column`. Where the data
    have integers `y`, these are the coordinate `label` along datum. Nothing is copied: draws in a file stay there.

    Args:
        draws: of `posterior` and of `prior`, at most one of each.
        chains: fold the S draws, which are independent, into so many chains; R-hat wants two or more.

    Raises:
        MissingExtraError: arviz is not installed.
        PairError: no draws, or two of one kind; S is no multiple of `chains`.
    """
    kinds = [one.kind for one in draws]
    if not draws or len(set(kinds)) < len(kinds):
        raise PairError(
            f"to_arviz wants draws, at most one of each kind, got {', '.join(kinds) or 'none'}. Write "
            "to_arviz(posterior(...), prior(...))."
        )
    for one in draws:
        if chains < 1 or one.sizes["draw"] % chains:
            raise PairError(f"{one.sizes['draw']} draws make no {chains} chains of one length. Choose a divisor.")
    arviz, xarray = wanted("arviz"), wanted("xarray")
    groups = {name: dataset for one in draws for name, dataset in datasets(one, chains).items()}
    if int(arviz.__version__.split(".")[0]) < 1:
        return arviz.InferenceData(**groups)
    return xarray.DataTree.from_dict({f"/{name}": dataset for name, dataset in groups.items()})


def datasets(draws: Draws, chains: int = 1) -> dict[str, Any]:
    """The xarray Dataset of each group."""
    xarray = wanted("xarray")
    groups: dict[str, dict[str, Any]] = {}
    for key, (dims, values) in draws.arrays.items():
        if dims[0] == "draw":
            dims, values = ("chain", *dims), values.unflatten(0, (chains, -1))
        groups.setdefault(key.group, {})[key.name] = dims, values.numpy()
    label = label_of({**draws.given, **draws.observed})
    described = {}
    for name, variables in groups.items():
        dataset = xarray.Dataset(variables)
        coords = coordinates(dataset.sizes, label)
        described[name] = dataset.assign_coords(coords).assign_attrs(attributes(draws.corrected))
    return described


def coordinates(sizes: Mapping[str, int], label: Tensor | None) -> dict[str, Any]:
    """The positions along each dimension, and the label of each datum."""
    coords: dict[str, Any] = {dim: np.arange(size) for dim, size in sizes.items()}
    if label is not None and "datum" in sizes:
        coords["label"] = "datum", label.numpy()
    return coords


def attributes(corrected: bool) -> dict[str, Any]:
    """Where a group comes from."""
    library = {"inference_library": "pyrovae", "inference_library_version": __version__}
    return {**library, "corrected": int(corrected)}


def wanted(package: str) -> Any:
    """An optional package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f"draws are exported with {package}, which is not installed: pip install 'pyrovae[inspect]'"
        ) from error
