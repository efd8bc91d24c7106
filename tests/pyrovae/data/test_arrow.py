"""Arrow tables: which columns make which tensor, and what is no number."""

import io

import numpy as np
import pytest
from PIL import Image

from pyrovae.data.arrow import ArrowColumns
from pyrovae.errors import DataError, ShapeError

pa = pytest.importorskip("pyarrow")


def png(value, size=(3, 2), mode="L"):
    file = io.BytesIO()
    Image.new(mode, size, value).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": None}


def arrays(**columns):
    table = pa.table(columns)
    return ArrowColumns.of(table.schema, "t.parquet").arrays(table)


def test_numbers_are_x_in_the_order_of_their_columns():
    found = arrays(a=[1.5, 2.5], label=[1, 0], b=[3, 4], c=[True, False])
    assert found["x"].tolist() == [[1.5, 3, 1], [2.5, 4, 0]]
    assert found["y"].tolist() == [1, 0]
    assert found["y"].dtype == np.int64


def test_labels_may_be_text():
    assert arrays(a=[1.0, 2.0], Label=["cat", "dog"])["y"].tolist() == ["cat", "dog"]
    assert arrays(a=[1.0, 2.0], y=pa.array(["cat", "dog"]).dictionary_encode())["y"].tolist() == ["cat", "dog"]


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.float32())])
def test_lists_of_one_length_are_arrays(kind):
    found = arrays(pixels=pa.array([[1, 2], [3, 4]], kind), y=[0, 1])
    assert found["x"].tolist() == [[1, 2], [3, 4]]
    assert found["x"].dtype == np.float32


def test_a_column_x_is_x_and_others_keep_their_names():
    found = arrays(x=[[[1, 2]], [[3, 4]]], mask=[[True], [False]], age=[7, 8])
    assert {name: cells.shape for name, cells in found.items()} == {"x": (2, 1, 2), "mask": (2, 1), "age": (2,)}
    assert found["mask"].dtype == bool


def test_images_are_channels_first():
    found = arrays(image=[png(7), png(9)], label=[0, 1], weight=[0.5, 0.7])
    assert found["x"].shape == (2, 1, 2, 3)
    assert found["x"].dtype == np.uint8
    assert found["x"][:, 0, 0, 0].tolist() == [7, 9]
    assert found["weight"].tolist() == [0.5, 0.7]
    assert arrays(picture=[png((1, 2, 3), mode="RGB")])["x"][0, :, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("columns", "error", "words"),
    [
        ({"a": [1.0], "city": ["Ulm"]}, DataError, ["string", "column 'city'", "name it 'label'", "Table.of(dataset)"]),
        ({"a": [[1, 2], [3]]}, ShapeError, ["lists of one length in column 'a'", "1 to 2", "Pad them"]),
        ({"x": [["a"], ["b"]]}, DataError, ["list<", "column 'x'"]),
        ({"a": [1.0, None]}, DataError, ["1 missing ones in column 'a'", "has a mask"]),
        ({"a": [[1.0], None]}, DataError, ["1 missing ones in column 'a'"]),
        ({"a": [[1.0, None], [1.0, 2.0]]}, DataError, ["1 missing ones in column 'a'"]),
        ({"a": [1.0], "y": [1], "Label": [1]}, DataError, ["more than one label", "y, Label"]),
        ({"a": [[1.0]], "b": [[2.0]]}, DataError, ["a column 'x'", "'a', 'b'", "rename_column"]),
        ({"y": [1]}, DataError, ["a column 'x'", "got none"]),
        ({"image": [png(1), png(2, (5, 5))]}, ShapeError, ["one size", "(1, 2, 3)", "(1, 5, 5)"]),
        ({"image": [{"bytes": None, "path": None}]}, DataError, ["an image in every cell"]),
        ({"image": [{"bytes": b"nothing", "path": None}]}, DataError, ["'image'", "cannot be read"]),
    ],
)
def test_what_is_no_number_is_named(columns, error, words, says):
    with says(error, "t.parquet", *words):
        arrays(**columns)
