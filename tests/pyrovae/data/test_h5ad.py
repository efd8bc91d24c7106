"""Counts of cells from an AnnData file, and those drawn from a known program."""

import numpy as np
import pytest
import scipy.sparse
import torch

from pyrovae import data
from pyrovae.errors import DataError, MissingExtraError

anndata = pytest.importorskip("anndata")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of anndata and of what it imports
COUNTS = (np.arange(60).reshape(20, 3) % 5 + 1).astype(np.float32)


@pytest.fixture
def written(tmp_path):
    """A function that writes a file of 20 cells and 3 genes, and returns its path."""

    def write(x=COUNTS, layers=(), **columns):
        cells = anndata.AnnData(x, layers=dict(layers))
        for name, values in columns.items():
            cells.obs[name] = values
        cells.write_h5ad(tmp_path / "cells.h5ad")
        return tmp_path / "cells.h5ad"

    return write


def rows(found):
    """All rows of a data set, sorted."""
    whole = torch.cat([split["x"] for split in found.splits.values()])
    return whole[np.lexsort(whole.numpy().T)]


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix, scipy.sparse.csc_matrix])
def test_a_file_of_counts(written, form):
    path = written(form(COUNTS), batch=["b", "a"] * 10, cell_type=["T", "B", "B", "NK"] * 5)
    found = data.load(path, valid=2, test=4)
    assert [len(split["x"]) for split in found.splits.values()] == [14, 2, 4]
    assert found.train["x"].dtype == torch.float32
    torch.testing.assert_close(rows(found), torch.from_numpy(COUNTS[np.lexsort(COUNTS.T)]))
    for split in found.splits.values():
        torch.testing.assert_close(split["total"], split["x"].sum(-1))
    assert found.classes == ("B", "NK", "T")
    assert found.train["batch"].dtype == torch.int64
    assert set(found.train["batch"].tolist()) == {0, 1}
    # The first cell is of batch b and a T cell.
    first = [i for i, row in enumerate(found.train["x"]) if torch.equal(row, torch.from_numpy(COUNTS[0]))]
    assert first
    assert all(found.train["batch"][i] in (0, 1) for i in first)


def test_rows_keep_their_batch_and_their_label(written):
    x = np.arange(1, 21)[:, None] * np.ones((1, 3), dtype=np.float32)
    found = data.load(written(x, batch=np.arange(20) % 2, y=(np.arange(20) % 4).astype(str)), test=2)
    number = found.train["x"][:, 0].long() - 1
    assert torch.equal(found.train["batch"], number % 2)
    assert torch.equal(found.train["y"], number % 4)


def test_the_layer_of_counts_goes_before_x(written):
    found = data.load(written(np.log1p(COUNTS), layers={"counts": scipy.sparse.csr_matrix(COUNTS)}))
    torch.testing.assert_close(rows(found), torch.from_numpy(COUNTS[np.lexsort(COUNTS.T)]))
    assert set(found.train) == {"x", "total"}


@pytest.mark.parametrize(
    ("value", "words"),
    [(-1.0, ["in X", "-1", "1 of 60 values", "layers['counts']"]), (0.5, ["0.5"]), (np.nan, ["nan"])],
)
def test_values_that_are_no_counts(written, value, words, says):
    x = COUNTS.copy()
    x[3, 1] = value
    with says(DataError, "requires counts", *words):
        data.load(written(x))


def test_cells_that_lack_something(written, says, tmp_path):
    x = COUNTS.copy()
    x[:2] = 0
    with says(DataError, "2 of 20 cells", "adata[adata.X.sum(1) > 0]"):
        data.load(written(x))
    with says(DataError, "obs['batch']", "10 of 20 cells", "notna"):
        data.load(written(batch=np.array(["a", None] * 10, dtype=object)))
    with says(DataError, "No such file", "none.h5ad"):
        data.load(tmp_path / "none.h5ad")
    (tmp_path / "broken.h5ad").write_bytes(b"no HDF5")
    with says(DataError, "broken.h5ad", "cannot be read", "write_h5ad"):
        data.load(tmp_path / "broken.h5ad")


def test_a_sparse_file_is_refused_where_it_is_too_large_when_dense(written, says):
    path = written(scipy.sparse.csr_matrix(COUNTS))
    with says(DataError, "made dense", "max_bytes=240"):
        data.load(path, max_bytes=239)
    assert len(data.load(path, max_bytes=240).train["x"]) == 16


def test_without_anndata(written, says, monkeypatch):
    path = written()
    monkeypatch.setitem(__import__("sys").modules, "anndata", None)
    with says(MissingExtraError, "anndata", "pip install 'pyrovae[cells]'"):
        data.load(path)


def test_drawn_cells_are_the_same_every_time():
    one, two = data.load("cells"), data.load("cells", valid=20)
    assert torch.equal(one.train["x"], two.train["x"])
    assert [len(split["x"]) for split in two.splits.values()] == [1600, 20, 200]
    assert torch.equal(one.train["total"], one.train["x"].sum(-1))
    assert (one.train["x"] == one.train["x"].round()).all()
    assert one.train["total"].min() > 100
    medians = [one.train["total"][one.train["batch"] == s].median().item() for s in (0, 1)]
    assert medians == [pytest.approx(1200, rel=0.1), pytest.approx(2000, rel=0.1)]
    assert len(one.classes) == 6
