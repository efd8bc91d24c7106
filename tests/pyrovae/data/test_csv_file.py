"""Tables: what is a header, what separates columns, and what is a missing number."""

import pytest
import torch

from pyrovae.data import load
from pyrovae.errors import DataError


@pytest.fixture
def table(tmp_path):
    """Loads a text, all of it as training data but for one row."""

    def table(text, **options):
        path = tmp_path / "t.csv"
        path.write_text(text, encoding="utf-8")
        return load(path, valid=0, test=0, **options)

    return table


def rows(dataset):
    return sorted(dataset.train["x"].tolist())


def test_a_table_without_a_header(table):
    loaded = table("1,2\n3,4\n\n5,6e-1\n")
    assert list(loaded.train) == ["x"]
    assert loaded.train["x"].dtype == torch.float32
    assert rows(loaded) == [[1, 2], [3, 4], [5, pytest.approx(0.6)]]


def test_the_numbers_that_pandas_gives_columns_are_a_header(table):
    """DataFrame(array).to_csv(path, index=False)."""
    assert rows(table("0,1\n0.5,1.5\n2.5,3.5\n")) == [[0.5, 1.5], [2.5, 3.5]]
    assert rows(table("0,1\n1.0,2\n")) == [[1, 2]]
    assert rows(table("0\n0.5\n1\n")) == [[0.5], [1]]


def test_a_row_that_may_be_such_a_header_is_refused(table, says):
    for text in ("0,1\n1,0\n1,1\n", "0\n1\n", "0,1,2\n3,4,5\n"):
        with says(DataError, "t.csv", "0", "a header that pandas wrote, or data", "header=False"):
            table(text)
    assert rows(table("1,0\n0,1\n")) == [[0, 1], [1, 0]]  # no header counts like that
    assert rows(table("a,b\n0,1\n1,1\n")) == [[0, 1], [1, 1]]


def test_an_index_that_pandas_wrote_is_refused(table, says):
    for header in (",0,1", ",a,b"):
        with says(DataError, "the first column has no name", "index=False"):
            table(f"{header}\n0,1.5,2\n1,2.5,3\n")


@pytest.mark.parametrize("gap", ["NA", "n/a", "NaN", "", "null", "None", "<NA>", "?"])
def test_a_gap_in_the_first_row_does_not_make_it_a_header(gap, table, says):
    """The row was lost without a word; now the gap is named, as in any other row."""
    for text in (f"1.0,{gap},3\n4,5,6\n", f"4,5,6\n1.0,{gap},3\n"):
        with says(DataError, "1 values that are not finite", "column '1'"):
            table(text)


def test_a_word_among_numbers_is_no_header(table, says):
    with says(DataError, "the first row has '1.5'", "'abc'", "neither a header nor data"):
        table("1.5,abc,3\n4,5,6\n")
    assert rows(table("name,2019,2020\n1,2,3\n")) == [[1, 2, 3]]  # years name columns
    assert table("400.5,401.0,label\n1,2,0\n").train["y"].tolist() == [0]  # so do wavelengths, beside a label


@pytest.mark.parametrize(
    ("text", "name", "sep"),
    [
        ("a;b\n1,5;2,5\n", "';'", "sep=';'"),
        ("1;2\n3;4\n", "';'", "sep=';'"),
        ("1,5;2,5\n3,5;4,5\n", "';'", "sep=';'"),
        ("a\tb\n1\t2\n", "a tab", r"sep='\t'"),
        ("a|b\n1|2\n", "'|'", "sep='|'"),
        ("1.5 2.5\n3.5 4.5\n", "a space", "sep=' '"),
    ],
)
def test_another_separator_is_named(text, name, sep, table, says):
    with says(DataError, "t.csv", f"separated by {name}", "requires commas", sep, "decimal=','"):
        table(text)


def test_spaces_in_names_and_around_numbers_are_no_separators(table):
    assert rows(table("first name, second name\n1, 2\n3, 4\n")) == [[1, 2], [3, 4]]
    assert rows(table("first name\n1\n3\n")) == [[1], [3]]


@pytest.mark.parametrize(
    "label", ["1e300", "18446744073709551615", "9007199254740993", "2147483648", "-1", "nan", "0.5"]
)
def test_labels_that_are_no_classes(label, table, says):
    """1e300 and 2^64 - 1 became -1, which means "unlabelled" to semi-supervised pairs."""
    with says(DataError, "y in", "row 1 is"):
        table(f"a,y\n1,0\n2,{label}\n")
    assert table("a,y\n1,0\n2,2147483647\n").train["y"].max() == 2**31 - 1
