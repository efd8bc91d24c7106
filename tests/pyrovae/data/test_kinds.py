"""Which kind a column is, by its type and its values; dates; what is refused."""

import numpy as np
import pytest
import torch

from pyrovae.data.columns import missing_cells, numbers_of
from pyrovae.data.kinds import Column
from pyrovae.data.table import Table
from pyrovae.errors import CellError, DataError, ShapeError

pd = pytest.importorskip("pandas")


def kind(values, **options):
    return Column.of("a", pd.Series(values, **options)).kind


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 1, 1], "int64", "category"),
        ([0.0, 1.0, None], "float64", "category"),
        ([0.0, 1.0, 1.0], "float32", "category"),
        ([0, 1, None], "Int64", "category"),
        ([True, None, False], "boolean", "category"),
        ([True, False, True], object, "category"),
        ([0, 1, 2], "int64", "count"),
        ([0, 0, 0], "int64", "count"),
        ([3.0, None, 7.0], "float64", "count"),
        ([3, None, 7], "Int64", "count"),
        ([3, None, 7], object, "count"),
        ([3, None, 7.5], object, "real"),
        ([-1, 0, 1], "int64", "real"),
        ([3.0, 4.0, 7.0], "float64", "real"),
        ([1.5, None, 2.0], "Float64", "real"),
        (["a", None, "b"], "string", "category"),
        (["a", "b", 3], object, "category"),
        (["1", "2", "2"], object, "category"),
        (["2020-01-01", "2020-01-02", None], "datetime64[ns]", "date"),
        (["2020-01-01", "2020-01-02", None], "datetime64[s]", "date"),
    ],
)
def test_the_kind_of_a_column(values, dtype, expected):
    assert kind(values, dtype=dtype) == expected


def test_arrays_have_one_type_but_yes_and_no_is_a_category():
    table = Table.of(np.array([[0.0, 3.0], [1.0, 7.0], [np.nan, 8.0]]))
    assert [column.kind for column in table.columns] == ["category", "real"]
    assert table.fill(np.array([[np.nan, 3.0]]), torch.tensor([[0.9, 0.0]])).tolist() == [[1.0, 3.0]]
    dates = np.array([["2020-01-01"], ["2020-03-01"], ["NaT"]], dtype="datetime64[D]")
    assert Table.of(dates).columns[0].kind == "date"


@pytest.mark.parametrize("zone", [None, "Europe/Oslo"])
@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_dates_are_days_and_come_back_as_dates(zone, unit):
    days = pd.Series(pd.to_datetime(["2020-01-01", "2020-01-31", None, "2020-01-16"])).astype(f"datetime64[{unit}]")
    frame = pd.DataFrame({"day": days.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else days})
    table = Table.of(frame)
    (column,) = table.columns
    assert column.scale == pytest.approx(np.std([0, 30, 15]))
    assert column.whole
    x = table.encode(frame)["x"]
    assert x[:, 0].tolist() == pytest.approx([-(1.5**0.5), 1.5**0.5, 0, 0], abs=1e-6)
    filled = table.fill(frame, torch.full((4, 1), 0.1))  # 1.2 days after the mean, 16 January
    assert filled.dtypes.equals(frame.dtypes)
    expected = pd.Timestamp("2020-01-17", tz="UTC" if zone else None)
    assert filled["day"].iloc[2] == expected
    assert filled["day"].drop(2).equals(frame["day"].drop(2))
    assert table.fill(filled, x).equals(filled)


def test_times_of_a_day_are_kept():
    times = pd.Series(pd.to_datetime(["2020-01-01 06:00", "2020-01-03 18:00", None], format="mixed"))
    column = Column.of("t", times)
    assert not column.whole
    middle = column.decode(np.zeros(1))[0]
    assert abs(middle - np.datetime64("2020-01-02T12:00")) < np.timedelta64(1, "ms")


def test_whole_numbers_below_zero_are_rounded():
    frame = pd.DataFrame({"change": [-1.0, np.nan, 2.0, 5.0]})
    assert Table.of(frame).fill(frame, torch.full((4, 1), 0.1))["change"].tolist() == [-1, 2, 2, 5]


@pytest.mark.parametrize(
    ("series", "words"),
    [
        (pd.Series(["2020-01-01", "2020-01-02", "2020-02-01"]), ["dates as str", "pandas.to_datetime(frame['a'])"]),
        (pd.Series(["1.2.2020", "2.2.2020", "3.2.20"]), ["dates as str", "'1.2.2020'", "kinds={'a': 'category'}"]),
        (pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02", "2020-02-01"]).date), ["dates as date"]),
        (pd.Series(pd.to_timedelta([1, 2], unit="D")), ["timedelta64", ".dt.total_seconds() / 86400"]),
        (pd.Series(pd.period_range("2020", periods=3, freq="M")), ["period[M]", ".dt.to_timestamp()"]),
        (pd.Series([f"name {n}" for n in range(80)]), ["80 values in 80 rows", "drop(columns='a')", "'category'"]),
    ],
)
def test_columns_with_the_line_that_mends_them(series, words, says):
    with says(DataError, "Column 'a'", *words):
        Column.of("a", series)


def test_dates_and_names_may_be_categories_if_one_says_so(says):
    assert Column.of("a", pd.Series(["2020-01-01", "2020-01-02"] * 9), "category").kind == "category"
    assert len(Column.of("a", pd.Series([f"name {n}" for n in range(80)]), "category").values) == 80
    days = pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-01"]))
    assert Column.of("a", days, "category").encode(days).tolist() == [0, 1, 0]
    assert Column.of("a", pd.Series([0, 1, 5, 0]), "real").kind == "real"
    with says(DataError, "Column 'a' requires dates", "pandas.to_datetime(frame['a'])"):
        Column.of("a", pd.Series([1, 2]), "date")


def test_a_cell_that_is_no_value_is_a_type_error_too():
    with pytest.raises(CellError, match="got dict"):
        Column.of("a", pd.Series([{}, "b"]))
    assert issubclass(CellError, TypeError)


def test_a_table_prints_its_kinds():
    frame = pd.DataFrame(
        {
            "height": [1.5, 2.5],
            "city": ["Oslo", "Bonn"],
            "day": pd.to_datetime(["2020-01-01", "2020-01-03"]),
            "n": [3, 4],
            "member": [0, 1],
        }
    )
    assert repr(Table.of(frame)).splitlines() == [
        "column  kind      values",
        "height  real      mean 2, sd 0.5",
        "city    category  Bonn, Oslo",
        "day     date      mean 2020-01-02, sd 1 days",
        "n       count",
        "member  category  0, 1",
    ]
    many = Table.of(pd.DataFrame({"letter": list("abcdefgh") * 2}))
    assert repr(many).endswith("a, b, c, d, e, f, ... (8)")


def test_the_values_that_rows_stand_for(says):
    frame = pd.DataFrame({"height": [1.5, 2.5], "city": ["Oslo", "Bonn"]})
    table = Table.of(frame)
    values = table.values(torch.tensor([[0.0, 0.4], [1.0, 0.6]]))
    assert values["height"].tolist() == [2.0, 2.5]
    assert values["city"].tolist() == ["Bonn", "Oslo"]
    with says(ShapeError, "(N, 2)", "(2, 3)"):
        table.values(torch.zeros(2, 3))


def test_missing_cells_of_every_type():
    for series in (
        pd.Series([1.0, None]),
        pd.Series([1, None], dtype="Int64"),
        pd.Series(["a", None], dtype="string"),
        pd.Series(["a", pd.NA], dtype=object),
        pd.Series(pd.to_datetime(["2020-01-01", None])),
        np.array([1.0, np.nan]),
        np.array(["a", None], dtype=object),
        np.array(["a", np.nan], dtype=object),
        np.array([1, pd.NA], dtype=object),
        np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"),
    ):
        assert missing_cells(series).tolist() == [False, True]
    assert missing_cells(np.array([1, 2])).tolist() == [False, False]


def test_numbers_of_a_frame_have_all_types():
    frame = pd.DataFrame({"a": [1, 2], "b": [True, False], "c": pd.array([1.5, 2.5], dtype="Float64")})
    assert numbers_of("fit", frame).tolist() == [[1, 1, 1.5], [2, 0, 2.5]]
