"""Places of words."""

import sys

import pytest
import torch

from pyrovae.data import word_embeddings, word_topics
from pyrovae.errors import MissingExtraError, SettingError, ShapeError


def test_words_that_come_together_have_one_place_and_words_that_never_do_are_orthogonal():
    x = torch.tensor([[1.0, 2, 0, 0], [3, 1, 0, 0], [0, 0, 1, 2], [0, 0, 2, 1]])
    before = torch.get_rng_state()
    places = word_embeddings(x, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert places.shape == (4, 2)
    torch.testing.assert_close(places[0::2], places[1::2], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        places @ places.T, torch.eye(2).repeat_interleave(2, 0).repeat_interleave(2, 1), atol=1e-5, rtol=0
    )


def test_their_spectrum_is_that_of_the_positive_pmi():
    """The squared norms of the columns are the absolute eigenvalues of the matrix, up to a scale."""
    x = (torch.rand(40, 6, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    both = x.double().T @ x.double() / 40
    pmi = (both / (both.diagonal()[:, None] * both.diagonal())).log().clamp_min(0)
    values = torch.linalg.eigvalsh(pmi).abs().sort(descending=True).values
    found = word_embeddings(x, 6).double().square().sum(0)
    torch.testing.assert_close(found / found.sum(), values / values.sum(), atol=1e-5, rtol=0)


def test_words_in_no_document_are_at_the_origin():
    assert word_embeddings(torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), 2)[2].abs().max() < 1e-6


@pytest.mark.parametrize("of", ["tf-idf", "counts"])
def test_topics_are_the_parts_of_documents_that_share_no_words(of):
    x = torch.tensor([[3.0, 3, 0, 0, 0], [2, 2, 0, 0, 0], [0, 0, 5, 5, 0], [0, 0, 1, 1, 0]])
    found = word_topics(x, 2, of=of, smoothing=0.1)
    words = x.sum(0) + 0.5
    parts = torch.tensor([[0.5, 0.5, 0, 0, 0], [0, 0, 0.5, 0.5, 0]])
    wanted = 0.9 * parts + 0.1 * words / words.sum()
    torch.testing.assert_close(found[found[:, 0].argsort(descending=True)], wanted, atol=1e-4, rtol=0)
    assert torch.equal(word_topics(x, 2, of=of, smoothing=0.1), found)


def test_without_scikit_learn_no_topics(monkeypatch, says):
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with says(MissingExtraError, "sklearn", "pyrovae[data]"):
        word_topics(torch.ones(3, 4), 2)


def test_what_is_refused(says):
    with says(SettingError, "topics", "2 to 3"):
        word_topics(torch.ones(3, 4), 4)
    with says(SettingError, "smoothing", "0"):
        word_topics(torch.ones(3, 4), 2, smoothing=0.0)
    with says(SettingError, "of='counts'", "'words'"):
        word_topics(torch.ones(3, 4), 2, of="words")
    with says(SettingError, "dim", "4"):
        word_embeddings(torch.ones(2, 3), 4)
    with says(ShapeError, "(N, V)", "(3,)"):
        word_embeddings(torch.ones(3))
