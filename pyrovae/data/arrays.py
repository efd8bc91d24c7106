"""The user's own arrays, from a file or a folder: checked, converted to tensors, and split."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.data.dataset import SPLIT_SEED, Batch, Dataset, hold_out, shuffle
from pyrovae.errors import DataError, ShapeError

__all__ = [
    "Contents",
    "Parts",
    "as_labels",
    "as_tensor",
    "channels_first",
    "check_filled",
    "check_finite",
    "check_rows",
    "from_arrays",
    "is_label",
    "pictures",
    "refuse_size",
]

_LARGEST_LABEL = 2**31
"""A label names a class, so a number that large is something else; larger ones do not fit into int64 either."""

Parts = dict[str, dict[str, np.ndarray]]
"""The arrays of a source: `{"all": arrays}` where it has to be split, else `{"train", "test"[, "valid"]}`."""

Contents = tuple[Parts, tuple[str, ...] | None]
"""The parts, and the names of the classes where the source gives them."""


def from_arrays(
    name: str,
    origin: str,
    parts: Parts,
    classes: tuple[str, ...] | None,
    valid: int | None = None,
    test: int | None = None,
) -> Dataset:
    """A data set of arrays: checked, converted, and split where the source is not split.

    Args:
        name: the data set's name.
        origin: where the arrays come from; errors name it.
        parts: the arrays.
        classes: the names of the classes, where known.
        valid: the number of data points held out for validation; a tenth by default.
        test: the number of data points held out for testing; a tenth by default.

    Raises:
        DataError: an array that is empty or not finite, a wrong label, or splits that do not fit together.
        ShapeError: arrays of different lengths, or splits of different event shapes.
    """
    parts, classes = _number_labels(parts, classes)
    batches = {part: _as_batch(part, arrays, classes, origin) for part, arrays in parts.items()}
    _check_alike(batches, origin)
    if "all" in batches:
        everything = shuffle(batches["all"])
        tenth = len(everything["x"]) // 10
        pool, tested = hold_out(everything, tenth if test is None else test, "test")
        source = f"{origin}, shuffled (seed {SPLIT_SEED}), then split"
    else:
        refuse_size("test", test, origin)
        pool, tested = batches["train"], batches["test"]
        tenth = len(pool["x"]) // 10
        source = f"{origin}, split as it came"
    if "valid" in batches:
        refuse_size("valid", valid, origin)
        return Dataset(pool, batches["valid"], tested, name, source, classes)
    held_out = tenth if valid is None else valid
    if "train" in batches and held_out:
        pool = shuffle(pool)
        source += f", validation drawn from the training data (seed {SPLIT_SEED})"
    train, held = hold_out(pool, held_out)
    return Dataset(train, held, tested, name, source, classes)


def refuse_size(split: str, size: int | None, origin: str) -> None:
    """Refuse the size of a split that comes as it is.

    Args:
        split: `valid` or `test`.
        size: the number of data points that was asked for; None for none.
        origin: where the data come from, for the error.

    Raises:
        DataError: a number was asked for.
    """
    if size is not None:
        word = {"test": "test", "valid": "validation"}[split]
        raise DataError(f"{origin} has a {word} split of its own, got {split}={size}. Leave {split} out.")


def _as_batch(part: str, arrays: Mapping[str, np.ndarray], classes: tuple[str, ...] | None, origin: str) -> Batch:
    batch = {}
    for name, array in arrays.items():
        key = name if part == "all" else f"{name}_{part}"
        if array.ndim == 0:
            raise ShapeError(f"{key} in {origin} has no leading dimension. Every array has shape (N, ...).")
        tensor = as_labels(key, array, classes, origin) if name == "y" else as_tensor(key, array, origin)
        batch[name] = channels_first(tensor).contiguous() if name == "x" else tensor
    if part != "valid":  # a validation split may be given as empty
        check_filled("x" if part == "all" else f"x_{part}", batch["x"], origin)
    check_rows(batch, origin)
    return batch


def as_tensor(key: str, array: np.ndarray, origin: str) -> Tensor:
    """An array as a tensor: uint8 stays, other integers become int64, booleans and floats float32.

    Args:
        key: the array's name, for the error.
        array: the numbers.
        origin: where they come from, for the error.

    Raises:
        DataError: a number is not finite or too large, or there are no numbers.
    """
    if array.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(array))
    if array.dtype.kind in "fb":
        with np.errstate(over="ignore"):  # an overflow is reported below, as an infinity
            tensor = torch.from_numpy(array.astype(np.float32))
        check_finite(key, tensor, origin)
        return tensor
    if array.dtype.kind in "iu":
        if array.size and array.max() > np.iinfo(np.int64).max:
            raise DataError(f"{key} in {origin} holds {array.max()}, and int64 ends at 2^63 - 1. Store floats instead.")
        return torch.from_numpy(array.astype(np.int64))
    raise DataError(f"{key} in {origin} has dtype {array.dtype}, which is no number. Only y may hold strings.")


def as_labels(key: str, y: np.ndarray, classes: tuple[str, ...] | None, origin: str) -> Tensor:
    """Labels as int64.

    Args:
        key: the array's name, for the error.
        y: numbers `(N,)`.
        classes: the names of the classes, where known.
        origin: where they come from, for the error.

    Raises:
        DataError: a label is no integer from 0 on, or above the classes.
        ShapeError: another shape.
    """
    if y.ndim != 1:
        raise ShapeError(
            f"{key} in {origin} has shape {y.shape}, labels have shape (N,). Write y = y.argmax(1) if it is "
            "one-hot, y = y[:, 0] if it is a column. A continuous condition needs another name than y."
        )
    if y.dtype.kind not in "biuf":
        raise DataError(f"{key} in {origin} has dtype {y.dtype}. Labels are integers or strings.")
    values = y.astype(np.float64)
    upper = _LARGEST_LABEL if classes is None else len(classes)
    wrong = ~np.isfinite(values) | (values < 0) | (values != np.floor(values)) | (values >= upper)
    if wrong.any():
        row = int(wrong.argmax())
        known = f" below {upper:,}" + ("" if classes is None else ", the number of classes")
        raise DataError(
            f"{key} in {origin}: row {row} is {y[row]}, but a label is an integer from 0 on,{known}. "
            f"{int(wrong.sum())} rows are wrong."
        )
    return torch.from_numpy(y.astype(np.int64))


def _number_labels(parts: Parts, classes: tuple[str, ...] | None) -> Contents:
    """Number the labels that are strings by the order of the sorted names, alike in every split."""
    if not any("y" in arrays and arrays["y"].dtype.kind in "US" for arrays in parts.values()):
        return parts, classes
    names = {part: arrays["y"].astype(str) for part, arrays in parts.items() if "y" in arrays}
    known = np.unique(np.concatenate([value.ravel() for value in names.values()]))
    numbered = {part: {**parts[part], "y": np.searchsorted(known, value)} for part, value in names.items()}
    return {**parts, **numbered}, tuple(str(name) for name in known)


def is_label(column: str) -> bool:
    """Whether the name of a column says that it holds the labels.

    Args:
        column: the name.
    """
    return column.strip().lower() in ("y", "label")


def pictures(x: Any, y: Any) -> Batch:
    """Images and their labels as a batch.

    Args:
        x: uint8 images, as an array or a tensor; `channels_first` says which shapes.
        y: N labels.
    """
    return {
        "x": channels_first(torch.as_tensor(x)).contiguous(),
        "y": torch.as_tensor(y, dtype=torch.int64),
    }


def channels_first(x: Tensor) -> Tensor:
    """uint8 images as `(N, C, H, W)`; anything else as it is.

    Args:
        x: uint8 images `(N, H, W)`, `(N, H, W, C)` with C = 1 or 3, or `(N, C, H, W)`; or any other tensor.
    """
    if x.dtype != torch.uint8:
        return x
    if x.ndim == 3:
        return x.unsqueeze(1)
    if x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[-1] in (1, 3):
        return x.permute(0, 3, 1, 2)
    return x


def check_filled(key: str, x: Tensor, origin: str) -> None:
    """Refuse a tensor without numbers.

    Args:
        key: the tensor's name, for the error.
        x: the tensor.
        origin: where it comes from, for the error.

    Raises:
        DataError: x holds no number.
    """
    if x.numel() == 0:
        raise DataError(f"{origin} is empty: {key} has shape {tuple(x.shape)}.")


def check_rows(batch: Batch, origin: str) -> None:
    """Refuse tensors of different lengths.

    Args:
        batch: named tensors, `x` among them.
        origin: where they come from, for the error.

    Raises:
        ShapeError: a tensor has not as many rows as `x`.
    """
    for key, value in batch.items():
        if len(value) != len(batch["x"]):
            raise ShapeError(
                f"Every array in {origin} has one row per data point, got x of shape {tuple(batch['x'].shape)} "
                f"and {key} of shape {tuple(value.shape)}."
            )


def _check_alike(batches: Mapping[str, Batch], origin: str) -> None:
    """Refuse splits that differ in names, event shapes or dtypes."""
    first, reference = next(iter(batches.items()))
    for part, batch in batches.items():
        if batch.keys() != reference.keys():
            raise DataError(
                f"The splits of {origin} differ: {first} has {', '.join(reference)}; {part} has {', '.join(batch)}."
            )
        for key, value in batch.items():
            if value.shape[1:] != reference[key].shape[1:] or value.dtype != reference[key].dtype:
                raise ShapeError(
                    f"The splits of {origin} differ: {key}_{first} is {reference[key].dtype} "
                    f"{tuple(reference[key].shape)}, {key}_{part} is {value.dtype} {tuple(value.shape)}."
                )


def check_finite(key: str, x: Tensor, origin: str, columns: list[str] | None = None) -> None:
    """Refuse NaN and infinities.

    Args:
        key: the tensor's name, for the error.
        x: the tensor.
        origin: where it comes from, for the error.
        columns: the names of the columns of a table.

    Raises:
        DataError: a number is not finite; the message has its place.
    """
    bad = ~torch.isfinite(x)
    count = int(bad.sum())
    if count == 0:
        return
    row, *index = bad.nonzero()[0].tolist()
    column = f", column {columns[index[0]]!r}" if columns else f", index {tuple(index)}" if index else ""
    value = float(x[(row, *index)])
    raise DataError(
        f"{key} in {origin} has {count} values that are not finite in float32, the first is {value} at row "
        f"{row}{column}. Drop those rows, or fill them and keep a mask under another name."
    )
