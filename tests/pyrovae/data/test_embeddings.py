"""Places of words."""

import pytest
import torch

from pyrovae.data import word_embeddings, word_topics
from pyrovae.data.embeddings import pair_npmi
from pyrovae.errors import SettingError, ShapeError


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


def test_topics_are_sets_of_words_that_come_together_and_the_words_dealt_to_them():
    """Sets of two, for five words; the fifth, in no document, goes to the first topic, and the second has none."""
    x = torch.tensor([[3.0, 3, 0, 0, 0], [2, 2, 0, 0, 0], [0, 0, 5, 5, 0], [0, 0, 1, 1, 0]])
    before = torch.get_rng_state()
    found = word_topics(x, 2, smoothing=0.1)
    sets = torch.tensor([[0.5, 0.5, 0, 0, 0], [0, 0, 0.5, 0.5, 0]])
    if found[0, 0] < found[1, 0]:
        sets = sets.flip(0)
    dealt = torch.stack([torch.eye(5)[4], torch.full((5,), 0.2)])
    words = (x.sum(0) + 0.5) / (x.sum(0) + 0.5).sum()
    torch.testing.assert_close(found, 0.9 * (0.7 * sets + 0.3 * dealt) + 0.1 * words, atol=1e-5, rtol=0)
    torch.set_rng_state(before)
    assert torch.equal(word_topics(x, 2, smoothing=0.1), found)


@pytest.mark.parametrize(("distinct", "different"), [(0.0, 3), (5.0, 6)])
def test_distinct_sets_cost_coherence(distinct, different):
    """Three words always come together, the others never: both topics take the three, unless different words count."""
    x = torch.cat([torch.tensor([[1.0, 1, 1, 0, 0, 0, 0, 0]]).repeat(20, 1), torch.eye(8)[3:].repeat(8, 1)])
    found = word_topics(x, 2, num_words=3, distinct=distinct)
    assert len(found.topk(3, -1).indices.unique()) == different


def test_words_that_met_once_are_less_coherent_than_words_that_meet_again_and_again():
    """Both pairs have NPMI 1 in all documents, but only the second has it in every part of them."""
    x = torch.zeros(200, 6)
    x[0, :2] = x[::9, 2:4] = x[1::9, 4:] = 1.0
    found = word_topics(x, 2, num_words=2)
    assert {tuple(sorted(row)) for row in found.topk(2, -1).indices.tolist()} == {(2, 3), (4, 5)}


def test_the_npmi_of_pairs_by_hand():
    found = torch.tensor([[1.0, 1, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]])
    value = pair_npmi(found)
    torch.testing.assert_close(value[0], torch.tensor([1.0, 0.0, -1.0, 0.0]))  # itself, independent, never, in all
    assert value[3, 3] == 1
    torch.testing.assert_close(value, value.T)


def test_what_is_refused(says):
    with says(SettingError, "topics", "2"):
        word_topics(torch.ones(3, 5), 3)
    with says(SettingError, "smoothing", "0"):
        word_topics(torch.ones(3, 4), 2, smoothing=0.0)
    with says(SettingError, "distinct", "-1"):
        word_topics(torch.ones(3, 4), 2, distinct=-1.0)
    with says(SettingError, "dim", "4"):
        word_embeddings(torch.ones(2, 3), 4)
    with says(ShapeError, "(N, V)", "(3,)"):
        word_embeddings(torch.ones(3))
