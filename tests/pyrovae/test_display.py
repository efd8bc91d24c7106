"""How results show themselves: as text, at a prompt, in a notebook."""

import copy
import dataclasses
import inspect
import math
import pickle
import warnings

import numpy as np
import pytest
import torch

import pyrovae.inference
from pyrovae import plots
from pyrovae.data import Dataset, Table
from pyrovae.display import Cells, Shown, mean_and_error, plus_minus, shortened
from pyrovae.inference import History, evaluate, log_evidence
from pyrovae.inference.evidence.estimates import Estimate

ROWS = ({"epoch": 1, "loss": 12.0, "elbo": -11.0, "rate": 1.0, "distortion": 10.0},)

# What these classes hold is a setting, or one number that prints on one line.
NO_RESULTS = {
    "Annealing",
    "Aggressive",
    "Cyclical",
    "EpochReport",
    "Linear",
    "QuantisedPCA",
    "Release",
    "Estimate",
    "Verdict",
}


def test_words_are_flush_left_and_numbers_flush_right():
    cells = Cells([("a", "1", "x"), ("bb", "22.5", "yy")], ("name", "n", "words"), ["before"], ["after"], words=(0, 2))
    assert cells.text().splitlines() == [
        "before",
        "name     n  words",
        "a        1  x",
        "bb    22.5  yy",
        "after",
    ]


def test_a_list_of_names_and_values_has_no_head():
    assert Cells([("a", "1"), ("long", "2")], words=(0, 1)).text() == "a     1\nlong  2"
    assert "<thead>" not in Cells([("a", "1")]).html()
    assert Cells([], before=["nothing"]).text() == "nothing"
    assert "<table>" not in Cells([], before=["nothing"]).html()


def test_html_has_a_cell_for_each_cell_and_escapes_all():
    evil = '<script>alert("x")</script> & more'
    text = Cells([(evil, "1")], (evil, "n"), [evil], [evil]).html()
    assert text.count("<td") == text.count("<th ") == 2
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 4
    assert text.count("text-align: right") == 2


def test_long_tables_are_cut():
    assert shortened([("a",)] * 20) == ([("a",)] * 20, [])
    assert shortened([("a",)] * 33) == ([("a",)] * 20, ["and 13 more"])


def test_every_result_shows_itself():
    public = [getattr(pyrovae.inference, name) for name in pyrovae.inference.__all__]
    results = [one for one in public if inspect.isclass(one) and dataclasses.is_dataclass(one)]
    missing = [one.__name__ for one in results if not issubclass(one, Shown) and one.__name__ not in NO_RESULTS]
    assert not missing
    assert sum(issubclass(one, Shown) for one in results) >= 18
    for one in results:
        if issubclass(one, Shown):  # a dataclass would write a dump of its own
            assert one.__repr__ is Shown.__repr__, one


@pytest.fixture
def evaluation(ppca):
    return evaluate(ppca.model, ppca.guide(0.1), ppca.data(5), num_samples=50)


def test_an_evaluation_is_its_table_everywhere(evaluation):
    assert repr(evaluation) == str(evaluation)
    assert "tensor" not in repr(evaluation)
    html = evaluation._repr_html_()
    assert html.count("<tr>") == 7
    assert str(evaluation.elbo) in html


def test_an_evidence_shows_khat(ppca, evaluation):
    """With the number, where it is printed alone and in a table; a pair of numbers as before."""
    data = ppca.data(20)
    narrow = log_evidence(ppca.model, ppca.guide(0.0, 0.25), data, num_samples=200)
    value, error = narrow
    assert narrow == (value, error) == Estimate(value, error)
    assert narrow.unreliable > 0.5
    assert repr(narrow) == str(narrow) == f"{plus_minus(value, error)} (k-hat > 0.7: {100 * narrow.unreliable:.0f} %)"
    assert "k-hat > 0.7: 0 %" in str(evaluation)
    few = log_evidence(ppca.model, ppca.guide(), data, num_samples=10)
    assert "k-hat" not in str(few)
    assert few.unreliable != few.unreliable
    for again in (copy.deepcopy(narrow), pickle.loads(pickle.dumps(narrow))):
        assert (again, again.unreliable) == (narrow, narrow.unreliable)


def test_a_history_and_a_data_set_are_tables():
    history = History(ROWS)
    assert repr(history) == str(history)
    assert "<td" in history._repr_html_()
    assert [axes.get_title(loc="left")[:4] for axes in history.plot().axes] == ["loss", "rate", "dist"]
    x = {"x": torch.zeros(4, 3), "y": torch.zeros(4, dtype=torch.long)}
    data = Dataset(x, {}, x, "toy", "made up")
    html = data._repr_html_()
    assert "toy" in html
    assert "made up" in html
    assert html.count("<tr>") == 4
    assert "float32 (3,)" in html


def test_a_table_of_columns_shows_their_kinds():
    table = Table.of(np.array([[0.5, 1], [1.5, 0], [2.5, 1]]))
    assert repr(table).splitlines()[0].split()[:2] == ["column", "kind"]
    assert table._repr_html_().count("<tr>") == 3
    assert repr(table) == str(table)


# ---------------------------------------------------------------------------------------------- in a notebook


def test_a_figure_is_an_image_without_pyplot():
    """IPython knows how to draw it, whether or not the inline backend is there; pyplot knows nothing of it."""
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    figure = History(ROWS).plot()
    shown, _ = shell.display_formatter.format(figure)
    assert shown["image/png"].startswith(b"\x89PNG")
    assert sorted(shown) == ["image/png", "text/plain"]
    import matplotlib.pyplot as plt

    assert not plt.get_fignums()
    pickle.loads(pickle.dumps(figure))


def test_every_plot_is_such_a_figure():
    figures = [
        plots.curves(ROWS),
        plots.lines({"a": ([1, 2], [1, 2])}, x="x", y="y"),
        plots.dots({"a": [1.0]}, ["b"], x="x"),
        plots.grid(torch.rand(4, 1, 3, 3)),
    ]
    assert all(hasattr(figure, "_repr_png_") for figure in figures)


CELLS = [
    "import matplotlib; matplotlib.rcParams['figure.dpi'] = 40\nfrom pyrovae.inference import History\n"
    "history = History(({'epoch': 1, 'loss': 1.0},))",
    "history",
    "history.plot()",
    "figure = history.plot()",
    "%matplotlib inline\nimport matplotlib.pyplot as plt",
    "history.plot()",
    "from pyrovae.inference.pair.progress import progress_bar\n"
    "with progress_bar(True, 3, 'step') as bar:\n    bar.update(3)",
]


@pytest.mark.slow
def test_a_notebook_shows_each_result_once():
    """Before and after `%matplotlib inline`; tables as HTML; a progress bar without ipywidgets warns of nothing."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jupyter's own
        nbclient.NotebookClient(book, timeout=120).execute()
    outputs = [cell.outputs for cell in book.cells]
    kinds = [[sorted(out.get("data", {out.output_type: 0})) for out in of_cell] for of_cell in outputs]
    assert kinds[:4] == [[], [["text/html", "text/plain"]], [["image/png", "text/plain"]], []]
    assert kinds[4:6] == [[], [["image/png", "text/plain"]]]
    assert "Warning" not in str(outputs[6])
    assert "3/3" in str(outputs[6])


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-88.91834, 0.00421, "-88.9183 ± 0.0042"),
        (-88.91834, 0.0996, "-88.92 ± 0.10"),
        (-88.91834, 4.21, "-88.9 ± 4.2"),
        (12345.6, 123.4, "12346 ± 123"),
        (1.5, 1e-9, "1.500000 ± < 0.000001"),
        (1.5, 0.0, "1.50 ± 0"),
        (1.5, math.nan, "1.50 ± -"),
        (math.nan, math.nan, "- ± -"),
    ],
)
def test_a_value_has_the_digits_of_its_error(value, error, text):
    assert plus_minus(value, error) == text


def test_a_mean_has_its_standard_error():
    assert mean_and_error([0.5]) == "0.500"
    assert mean_and_error(torch.tensor([1.0, 2.0, 3.0])) == "2.00 ± 0.58"  # sqrt(1 / 3)
