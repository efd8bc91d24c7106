"""Arrow tables as named arrays: which columns make which tensor, and their cells as numbers.

Arrow is the form in which Parquet files are read and in which Hugging Face's data sets lie on the disk.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyrovae.data.arrays import is_label
from pyrovae.data.folder import decode
from pyrovae.errors import DataError, PyrovaeError, ShapeError
from pyrovae.imports import imported

__all__ = ["ArrowColumns", "arrow"]


def arrow(part: str = "") -> Any:
    """The package `pyarrow`, or a module of it.

    Args:
        part: the name of the module; empty for the package.

    Raises:
        MissingExtraError: it is not installed.
    """
    return imported(f"pyarrow.{part}".rstrip("."), "Parquet and Arrow require", "pyrovae[data]")


@dataclass(frozen=True)
class ArrowColumns:
    """Which columns of a table make which tensor.

    Attributes:
        origin: where the table comes from, for the errors.
        stacked: the columns of single numbers that are `x`, `(N, D)`.
        named: by the name of a tensor, the column that it is.
    """

    origin: str
    stacked: tuple[str, ...]
    named: Mapping[str, str]

    @classmethod
    def of(cls, schema: Any, origin: str) -> "ArrowColumns":
        """The tensors of a table.

        A column `y` or `label` of single values is `y`. A column `x` is `x`, and every other column keeps its name.
        Without one, `x` is the one column of images; or all columns of single numbers; or the one column of lists.

        Args:
            schema: names and types of the columns.
            origin: where the table comes from, for the errors.

        Raises:
            DataError: a column holds neither numbers nor images; two label columns; no column is x.
        """
        kinds = {field.name: _kind(field.type) for field in schema}
        labels = [name for name, kind in kinds.items() if is_label(name) and kind in ("number", "text")]
        if len(labels) > 1:
            raise DataError(f"{origin} has more than one label column: {', '.join(labels)}. Keep one.")
        rest = {name: kind for name, kind in kinds.items() if name not in labels}
        for name, kind in rest.items():
            if kind not in ("number", "list", "image"):
                _refuse(origin, name, schema.field(name).type)
        stacked, x = _x_of(rest, origin)
        named = {"x" if name == x else name: name for name in rest if name not in stacked}
        return cls(origin, stacked, named | ({"y": labels[0]} if labels else {}))

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return [*self.stacked, *self.named.values()]

    def arrays(self, table: Any) -> dict[str, np.ndarray]:
        """The rows of a table as arrays; labels that are text stay text.

        Args:
            table: a `pyarrow.Table` with these columns.

        Raises:
            DataError: a missing cell.
            ShapeError: lists or images of several sizes in one column.
        """
        found: dict[str, np.ndarray] = {}
        if self.stacked:
            found["x"] = np.stack([self._cells(table, name).astype(np.float64) for name in self.stacked], 1)
        return found | {name: self._cells(table, column) for name, column in self.named.items()}

    def _cells(self, table: Any, name: str) -> np.ndarray:
        column = table.column(name).combine_chunks()
        chunks = getattr(column, "chunks", None)  # a table without rows, or larger than 2 GiB
        column = column if chunks is None else arrow().concat_arrays(chunks)
        return _images(column, name, self.origin) if _is_image(column.type) else _numbers(column, name, self.origin)


def _x_of(kinds: Mapping[str, str], origin: str) -> tuple[tuple[str, ...], str]:
    """The columns that make x together, and else the one that is x."""
    images, numbers, lists = (tuple(n for n, k in kinds.items() if k == kind) for kind in ("image", "number", "list"))
    if "x" in kinds:
        return (), "x"
    if len(images) == 1:
        return (), images[0]
    if numbers and not images:
        return numbers, ""
    if len(lists) == 1 and not images:
        return (), lists[0]
    named = ", ".join(map(repr, kinds)) or "none"
    raise DataError(
        f"{origin} requires a column 'x', or one alone that can be x, got {named}. Write "
        "dataset.rename_column('...', 'x')."
    )


def _kind(kind: Any) -> str:
    """number, list, image, text, or the name of an Arrow type that is none of these."""
    types = arrow("types")
    kind = getattr(kind, "storage_type", kind)
    if _is_list(kind):
        while _is_list(kind):
            kind = getattr(kind.value_type, "storage_type", kind.value_type)
        return "list" if _is_number(kind) else str(kind)
    if _is_image(kind):
        return "image"
    text = types.is_dictionary(kind) or types.is_string(kind) or types.is_large_string(kind)
    return "number" if _is_number(kind) else "text" if text else str(kind)


def _is_list(kind: Any) -> bool:
    types = arrow("types")
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _is_number(kind: Any) -> bool:
    types = arrow("types")
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def _is_image(kind: Any) -> bool:
    """Whether cells are encoded images, as `datasets` and the hub store them: a struct of bytes and a path."""
    return arrow("types").is_struct(kind) and kind.get_field_index("bytes") >= 0


def _refuse(origin: str, name: str, kind: Any) -> None:
    raise DataError(
        f"{origin} requires columns of numbers, lists of numbers, or images, got {kind} in column {name!r}. Drop the "
        f"column; name it 'label' if it holds the classes; or, for a table of mixed kinds, write dataset = "
        "datasets.Dataset.from_parquet(path), table = pyrovae.data.Table.of(dataset), batch = table.encode(dataset)."
    )


def _numbers(column: Any, name: str, origin: str) -> np.ndarray:
    """The cells of a column of numbers, or of lists of lists of them, as an array."""
    shape = [len(column)]
    while True:
        column = getattr(column, "storage", column)
        if column.null_count:
            raise DataError(
                f"{origin} requires numbers in every cell, got {column.null_count} missing ones in column {name!r}. "
                "Fill or drop those rows; or write table = pyrovae.data.Table.of(dataset), batch = "
                "table.encode(dataset), which has a mask."
            )
        if not _is_list(column.type):
            break
        lengths = set(arrow("compute").unique(arrow("compute").list_value_length(column)).to_pylist()) or {0}
        if len(lengths) > 1:
            raise ShapeError(
                f"{origin} requires lists of one length in column {name!r}, got {min(lengths)} to {max(lengths)} "
                "numbers. Pad them, and keep the lengths or a mask in a column of its own."
            )
        shape.append(lengths.pop())
        column = column.flatten()
    if arrow("types").is_dictionary(column.type):
        column = column.dictionary_decode()
    cells = column.to_numpy(zero_copy_only=False)
    if cells.dtype == object:
        return cells.astype(str)
    return (cells if cells.flags.writeable else cells.copy()).reshape(shape)  # torch takes no view of Arrow's memory


def _images(column: Any, name: str, origin: str) -> np.ndarray:
    """The images of a column, uint8 `(N, C, H, W)`."""
    images = []
    for cell in column.to_pylist():
        if not cell or not (cell["bytes"] or cell.get("path")):
            raise DataError(f"{origin} requires an image in every cell, got none in column {name!r}. Drop those rows.")
        try:
            images.append(decode(io.BytesIO(cell["bytes"]) if cell["bytes"] else Path(cell["path"]), None))
        except PyrovaeError:
            raise
        except Exception as error:  # decoders raise all kinds: OSError, SyntaxError, struct.error, ...
            raise DataError(f"{origin}: column {name!r} holds an image that cannot be read: {error}.") from error
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise ShapeError(
            f"{origin} requires images of one size (C, H, W) in column {name!r}, got {shapes[0]} and {shapes[-1]}. "
            "Resize them: dataset.map(...)."
        )
    return np.stack(images)
