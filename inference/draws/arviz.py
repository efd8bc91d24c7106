"""Draws as objects of ArviZ and xarray."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.errors import MissingExtraError, PairError
from pyrovae.inference.draws.draws import Draws, label_of
from pyrovae.version import __version__

__all__ = ["attributes", "coordinates", "datasets", "grouped", "require_package", "to_arviz"]


def to_arviz(*draws: Draws, num_chains: int = 1) -> Any:
    """Convert draws to what ArviZ works on: its `InferenceData` for arviz 0.x, an xarray `DataTree` for arviz 1.x.

    The groups are `posterior`, `posterior_predictive`, `prior`, `prior_predictive`, `log_likelihood`, `sample_stats`
    (with `log_weight` and `effective_sample_size`), `observed_data` and `constant_data`, as far as the draws have them.
    The dimensions are chain, draw, datum, plates by their names, then `z_dim`, or `channel`, `row`, `column`. Where the
    data have integers `y`, these are the coordinate `label` along datum. Nothing is copied: draws in a file stay there.

    Args:
        draws: draws of `posterior` and of `prior`, at most one of each.
        num_chains: into how many chains the S draws, which are independent, are split; R-hat requires two or more.

    Raises:
        MissingExtraError: arviz is not installed.
        SettingError: `num_chains` is below 1.
        PairError: there are no draws, or two of one kind; S is no multiple of `num_chains`.
    """
    kinds = [one.kind for one in draws]
    if not draws or len(set(kinds)) < len(kinds):
        raise PairError(
            f"to_arviz requires draws, at most one of each kind, got {', '.join(kinds) or 'none'}. Write "
            "to_arviz(posterior(...), prior(...))."
        )
    check_count("num_chains", num_chains, write=1)
    for one in draws:
        if one.sizes["draw"] % num_chains:
            raise PairError(
                f"to_arviz requires chains of one length, got {one.sizes['draw']} draws for {num_chains} chains. "
                f"Write num_chains=1, or another divisor of {one.sizes['draw']}."
            )
    return grouped({name: dataset for one in draws for name, dataset in datasets(one, num_chains).items()})


def grouped(groups: Mapping[str, Any]) -> Any:
    """ArviZ's object of some groups: an `InferenceData` for arviz 0.x, an xarray `DataTree` for arviz 1.x.

    Args:
        groups: xarray Datasets, by name.

    Raises:
        MissingExtraError: arviz is not installed.
    """
    arviz, xarray = require_package("arviz"), require_package("xarray")
    if int(arviz.__version__.split(".")[0]) < 1:
        return arviz.InferenceData(**groups)
    return xarray.DataTree.from_dict({f"/{name}": dataset for name, dataset in groups.items()})


def datasets(draws: Draws, num_chains: int = 1) -> dict[str, Any]:
    """The xarray Dataset of each group.

    Args:
        draws: the draws.
        num_chains: into how many chains they are split.
    """
    xarray = require_package("xarray")
    groups: dict[str, dict[str, Any]] = {}
    for key, (dims, values) in draws.arrays.items():
        if dims[0] == "draw":
            dims, values = ("chain", *dims), values.unflatten(0, (num_chains, -1))
        groups.setdefault(key.group, {})[key.name] = dims, values.numpy()
    label = label_of({**draws.given, **draws.observed})
    described = {}
    for name, variables in groups.items():
        dataset = xarray.Dataset(variables)
        coords = coordinates(dataset.sizes, label)
        described[name] = dataset.assign_coords(coords).assign_attrs(attributes(draws.corrected))
    return described


def coordinates(sizes: Mapping[str, int], label: Tensor | None) -> dict[str, Any]:
    """The positions along each dimension, and the label of each data point.

    Args:
        sizes: the size of each dimension.
        label: the labels, `(N,)`; None where there are none.
    """
    coords: dict[str, Any] = {dim: np.arange(size) for dim, size in sizes.items()}
    if label is not None and "datum" in sizes:
        coords["label"] = "datum", label.numpy()
    return coords


def attributes(corrected: bool) -> dict[str, Any]:
    """The origin of a group: this library, its version, and how the draws were made.

    Args:
        corrected: whether the draws were chosen by their weights.
    """
    library = {"inference_library": "pyrovae", "inference_library_version": __version__}
    return {**library, "corrected": int(corrected)}


def require_package(name: str) -> Any:
    """Import an optional package.

    Args:
        name: that of the package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"the export of draws requires {name}, which is not installed. Write pip install 'pyrovae[inspect]'."
        ) from error
