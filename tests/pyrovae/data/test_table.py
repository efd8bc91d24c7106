"""Data frames to numbers and back."""

import math

import numpy as np
import pytest
import torch

from pyrovae.data.table import Table
from pyrovae.errors import DataError, ShapeError

pd = pytest.importorskip("pandas")


@pytest.fixture
def frame():
    sizes = pd.CategoricalDtype(["small", "medium", "large"], ordered=True)
    return pd.DataFrame(
        {
            "height": [1.5, 3.5, np.nan, 2.5],
            "visits": pd.array([1, None, 3, 4], dtype="Int64"),
            "city": ["Oslo", None, "Bonn", "Oslo"],
            "size": pd.Categorical(["small", "large", None, "small"], dtype=sizes),
            "member": pd.array([True, False, None, True], dtype="boolean"),
            "price": [1.5, 2.0, 4.0, np.nan],
        },
        index=["a", "b", "b", "c"],
    )


def test_kinds_follow_from_types(frame):
    table = Table.of(frame, {"price": "positive"})
    kinds = {column.name: column.kind for column in table.columns}
    assert kinds == {
        "height": "real",
        "visits": "count",
        "city": "category",
        "size": "ordinal",
        "member": "category",
        "price": "positive",
    }
    values = {column.name: column.values for column in table.columns}
    assert values["city"] == ("Bonn", "Oslo")
    assert values["size"] == ("small", "medium", "large")
    assert values["member"] == (False, True)
    assert Table.of(np.array([[1, -1]])).columns[1].kind == "real"


def test_numbers_and_back(frame):
    table = Table.of(frame)
    batch = table.encode(frame)
    assert batch["mask"].logical_not().sum() == 6
    assert batch["x"][:, 0].tolist() == pytest.approx([-math.sqrt(1.5), math.sqrt(1.5), 0, 0])
    assert batch["x"][:, 1:5].tolist() == [[1, 1, 0, 1], [0, 0, 2, 0], [3, 0, 0, 0], [4, 1, 0, 1]]
    x = torch.tensor([[0.0, 2.4, 0.0, 1.2, 0.9, 0.5]]).expand(4, -1)
    filled = table.fill(frame, x)
    assert list(filled.columns) == list(frame.columns)
    assert list(filled.index) == list(frame.index)
    assert (filled.dtypes == frame.dtypes).all()
    assert not filled.isna().any().any()
    observed = frame.notna()
    assert filled.astype(object).where(observed).equals(frame.astype(object).where(observed))
    assert filled["height"].iloc[2] == 2.5
    assert filled["visits"].iloc[1] == 2
    assert filled["city"].iloc[1] == "Bonn"
    assert filled["size"].iloc[2] == "medium"
    assert filled["member"].iloc[2]
    assert table.fill(filled, x).equals(filled)


def test_whole_numbers_with_gaps_are_counts():
    """pandas makes floats of them, and a float was taken for a real."""
    gap = np.nan
    frame = pd.DataFrame(
        {"visits": [3.0, gap, 0.0], "change": [-1.0, gap, 2.0], "height": [1.5, gap, 2.0], "four": [4.0, gap, 4.0]}
    )
    kinds = ["count", "real", "real", "real"]
    assert [column.kind for column in Table.of(frame).columns] == kinds
    assert [column.kind for column in Table.of(frame.astype("Float64")).columns] == kinds
    assert Table.of(frame.dropna()).columns[0].kind == "real"  # floats without a gap are the user's own
    assert Table.of(frame.to_numpy()).columns[0].kind == "real"  # an array has one type for all columns
    table = Table.of(frame)
    filled = table.fill(frame, torch.full((3, 4), 2.4))
    assert filled["visits"].tolist() == [3, 2, 0]
    assert filled["visits"].dtype == float


@pytest.mark.parametrize("dtype", [float, "Float64", "Int64", "float32"])
@pytest.mark.parametrize("kind", ["category", "ordinal"])
def test_categories_of_a_numeric_column_are_filled_in_its_type(dtype, kind):
    frame = pd.DataFrame({"smoker": pd.array([0, 1, None, 1], dtype="Int64").astype("Float64")})
    frame["smoker"] = frame["smoker"].astype("float64" if dtype is float else dtype)
    table = Table.of(frame, {"smoker": kind})
    for number, value in ((0.2, 0), (0.9, 1)):
        filled = table.fill(frame, torch.full((4, 1), number))
        assert filled["smoker"].tolist() == [0, 1, value, 1]
        assert filled.dtypes.equals(frame.dtypes)


def test_arrays_go_in_and_come_out():
    array = np.array([[1.0, np.nan], [3.0, 5.0]])
    table = Table.of(array)
    filled = table.fill(array, torch.tensor([[9.0, 1.0], [9.0, 9.0]]))
    assert filled.tolist() == [[1, 5], [3, 5]]  # a constant column has its constant
    assert np.isnan(array[0, 1])
    for broken in (math.nan, math.inf):
        with pytest.raises(DataError, match="fill requires finite numbers"):
            table.fill(array, torch.full((2, 2), broken))
    with pytest.raises(ShapeError, match=r"\(2, 2\).*\(2, 3\)"):
        table.fill(array, torch.zeros(2, 3))


def test_an_open_table_has_a_place_for_all_categories_that_it_lacks(frame):
    table, new = Table.of(frame).opened(), frame.assign(city="Rome")
    place = table.names.index("city")
    column = table.columns[place]
    assert (column.open, column.num_values) == (True, 3)
    assert set(table.encode(new)["x"][:, place].tolist()) == {2}
    assert [other.open for other in table.columns] == [other.kind == "category" for other in table.columns]
    assert torch.equal(table.encode(frame)["x"], Table.of(frame).encode(frame)["x"])


def test_it_says_what_is_wrong(frame, says):
    table = Table.of(frame)
    with says(DataError, "'city'", "'Rome'", "'Bonn', 'Oslo'", "None"):
        table.encode(frame.assign(city="Rome"))
    with says(DataError, "'height'", "no value at all", "drop"):
        Table.of(frame.assign(height=np.nan))
    with says(DataError, "'visits'", "'count'", "-1"):
        table.encode(frame.assign(visits=-1))
    with says(DataError, "'price'", "'positive'", "0"):
        Table.of(frame.assign(price=0.0), {"price": "positive"})
    with says(DataError, "'height'", "infinity"):
        table.encode(frame.assign(height=math.inf))
    with says(DataError, "lacks 'city'", "has 'town'"):
        table.encode(frame.rename(columns={"city": "town"}))
    with says(DataError, "two columns 'city'"):
        Table.of(pd.concat([frame, frame[["city"]]], axis=1))
    with says(DataError, "'cty'", "'city'"):
        Table.of(frame, {"cty": "category"})
    with says(DataError, "'number'", "real, positive"):
        Table.of(frame, {"city": "number"})
    with says(DataError, "'city'", "numbers"):
        Table.of(frame, {"city": "real"})
    with says(DataError, "list"):
        Table.of([[1.0]])
    for cells in ([[1], [2], [1], [2]], [{}, {}, {}, {}]):
        with says(DataError, "Column 'city' requires numbers, text", type(cells[0]).__name__, "drop(columns='city')"):
            Table.of(frame.assign(city=cells))
        with says(DataError, "Column 'city' requires numbers, text"):
            table.encode(frame.assign(city=cells))
    for kinds in ("count", [("city", "category")]):
        with says(DataError, "kinds requires a dict"):
            Table.of(frame, kinds)
    with says(DataError, "(3,)"):
        Table.of(np.zeros(3))
