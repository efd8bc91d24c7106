"""The entry of data: what every tool does first with the data that it is given.

Data are named tensors, `{"x": x}`; arrays of NumPy become tensors, and a tensor or an array by itself is `x`. Anything
else is refused here, with the line to write instead, before a network meets it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.data import Batch, Dataset, Scale, check_unchanged
from pyrovae.errors import DataError, SettingError
from pyrovae.inference.pair.contract import ProgramLike, filled, modules
from pyrovae.inference.pair.running import device_of

__all__ = ["conditioned", "entered", "floats_of", "named_tensors", "prepared"]


def entered(what: str, data: Any, transform: Callable[[Any], Any] | None, *programs: ProgramLike) -> dict[str, Tensor]:
    """The data of a tool: named tensors of at least one data point, prepared by the transform.

    Args:
        what: the caller's name, for the errors.
        data: named tensors or arrays that share their leading dimension; or one tensor or array, which is `x`.
        transform: the transform of the tool; `pyrovae.data.Scale()` if None.
        programs: model and guide; floats of NumPy get the type of their parameters.

    Raises:
        DataError: the data are no such thing; the message has the line to write.
        ShapeError: entries of different lengths.
        PairError: the data are empty.
    """
    named = named_tensors(what, data, floats_of(*programs))
    filled(what, named)
    return prepared(named, transform)


def conditioned(what: str, model: ProgramLike, given: Any) -> dict[str, Tensor]:
    """What a model is given beside its latents, on its device: nothing, or named tensors.

    Args:
        what: the caller's name, for the errors.
        model: the program.
        given: named tensors or arrays; None or an empty dict for none.

    Raises:
        DataError: it is something else; the message has the line to write.
    """
    named, device = named_tensors(what, {} if given is None else given, floats_of(model)), device_of(model)
    return {name: tensor.to(device) for name, tensor in named.items()}


def prepared(data: Batch, transform: Callable[[Any], Any] | None) -> dict[str, Tensor]:
    """The data as the first phase of a transform leaves them, its `prepare`; data that are prepared stay as they are.

    Args:
        data: named tensors.
        transform: a function from batch to batch, which may have a `prepare`; `pyrovae.data.Scale()` if None.

    Raises:
        SettingError: the transform is no function.
        DataError, ShapeError, SupportError: `prepare` refuses the data; or they are mapped from a file that changed.
    """
    transform = Scale() if transform is None else transform
    if not callable(transform):
        raise SettingError(
            f"transform requires a function from batch to batch, got {_kind(transform)}. Write transform=Scale()."
        )
    check_unchanged(data)
    prepare = getattr(transform, "prepare", None)
    return dict(data) if prepare is None else dict(prepare(dict(data)))


def named_tensors(what: str, data: Any, floats: torch.dtype | None = None) -> dict[str, Tensor]:
    """The data as named tensors.

    Args:
        what: the caller's name, for the errors.
        data: as in `entered`.
        floats: the type of what was floats in NumPy; torch's default if None.

    Raises:
        DataError: the data are no such thing; the message has the line to write.
    """
    if isinstance(data, Tensor | np.ndarray):
        data = {"x": data}
    if not isinstance(data, Mapping):
        raise DataError(f"{what} requires named tensors, got {_kind(data)}. {_advice(what, data)}")
    return {name: _tensor(what, name, value, floats) for name, value in data.items()}


def floats_of(*programs: ProgramLike) -> torch.dtype | None:
    """The type of the programs' first parameter or buffer that holds floats; None if there is none.

    Args:
        programs: models and guides.
    """
    for module in modules(*programs):
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                return tensor.dtype
    return None


def _tensor(what: str, name: Any, value: Any, floats: torch.dtype | None) -> Tensor:
    """One entry of the data."""
    if not isinstance(name, str):
        raise DataError(f'{what} requires names of tensors, got the name {name!r}. Write {{"x": x}}.')
    if isinstance(value, np.ndarray):
        return _from_array(what, name, value, floats)
    if not isinstance(value, Tensor):
        made = f"torch.tensor({name}.to_numpy())" if hasattr(value, "to_numpy") else f"torch.as_tensor({name})"
        raise DataError(
            f'{what} requires a tensor or an array at "{name}", got {_kind(value)}. Write {{"{name}": {made}}}.'
        )
    if value.is_nested or value.layout != torch.strided:
        raise DataError(f'{what} requires a dense tensor at "{name}", got {_layout(value)}. Write {name}.to_dense().')
    if value.is_complex():
        parts = f"torch.view_as_real({name}).flatten(1)"
        raise DataError(f'{what} requires real numbers at "{name}", got {value.dtype}. Write {{"{name}": {parts}}}.')
    if value.is_meta:
        raise DataError(f'{what} requires values at "{name}", got a tensor on the device meta, which has none.')
    return value


def _from_array(what: str, name: str, array: np.ndarray, floats: torch.dtype | None) -> Tensor:
    """An array as a tensor: bytes and booleans stay, integers become int64, and floats those of the pair."""
    kind = array.dtype.kind
    if kind not in "biuf":
        made = f'torch.tensor({name}.astype("float32"))'
        raise DataError(
            f'{what} requires numbers at "{name}", got an array of {array.dtype}. Write {{"{name}": {made}}}.'
        )
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f'{what} requires integers below 2**63 at "{name}", got {array.max()} of uint64.')
    if kind == "f":
        return torch.from_numpy(array.astype(np.float64 if array.itemsize > 4 else np.float32)).to(
            floats or torch.get_default_dtype()
        )
    keeps = kind == "b" or array.dtype == np.uint8
    return torch.from_numpy(np.array(array) if keeps else array.astype(np.int64))


def _kind(value: Any) -> str:
    """What something is, with its article."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def _layout(value: Tensor) -> str:
    return "a nested tensor" if value.is_nested else str(value.layout)


def _advice(what: str, data: Any) -> str:
    """The line to write in place of something that is no named tensors."""
    if isinstance(data, Dataset):
        return f"Write {what}(..., data.test), one split of it."
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        return (
            'Write {"x": torch.tensor(frame.to_numpy("float32"))}; for columns of several kinds, or gaps, '
            "pyrovae.data.Table.of(frame).encode(frame)."
        )
    if isinstance(data, torch.utils.data.DataLoader):
        return f"{what} makes its own batches. Write {_of_set(data.dataset, 'loader.dataset')}."
    if isinstance(data, torch.utils.data.Dataset):
        return f"Write {_of_set(data, 'dataset')}."
    if isinstance(data, list | tuple):
        both = isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, Tensor) for part in data)
        return 'Write {"x": x, "y": y}.' if both else 'Write {"x": torch.stack(x)}, or {"x": torch.tensor(x)}.'
    return 'Write {"x": x} with a tensor x of shape (N, *event).'


def _of_set(dataset: Any, name: str) -> str:
    """The line that makes named tensors of torch's data set."""
    if isinstance(dataset, torch.utils.data.TensorDataset):
        return f'{{"x": {name}.tensors[0]}}'
    return f'{{"x": torch.stack([item[0] for item in {name}])}}, where an item is (x, y)'
