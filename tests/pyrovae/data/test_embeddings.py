"""Places of words."""

import torch

from pyrovae.data import word_embeddings
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


def test_what_is_refused(says):
    with says(SettingError, "dim", "4"):
        word_embeddings(torch.ones(2, 3), 4)
    with says(ShapeError, "(N, V)", "(3,)"):
        word_embeddings(torch.ones(3))
