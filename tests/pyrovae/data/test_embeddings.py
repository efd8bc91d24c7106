"""Places of words."""

import torch

from pyrovae.data import word_embeddings
from pyrovae.errors import SettingError, ShapeError


def test_inner_products_are_the_pmi_of_the_words():
    """Of full rank, where the matrix of the positive PMI has no negative eigenvalue."""
    x = torch.tensor([[1.0, 2, 0, 0, 1], [3, 1, 0, 0, 0], [0, 0, 1, 2, 0], [0, 0, 2, 1, 1]])
    places, before = word_embeddings(x, 5).double(), torch.rand(1)
    assert places.shape == (5, 5)
    inner = places @ places.T
    off = inner - inner.diag().diag()
    assert off[0, 1] > 0.1 * inner.max()
    assert off[2, 3] > 0.1 * inner.max()
    assert off[:2, 2:4].abs().max() < 1e-6 * inner.max()
    torch.testing.assert_close(places.norm(dim=1).mean().item(), 1.0)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), before)  # the global random state is left alone


def test_the_matrix_is_the_positive_pmi():
    """Absolute eigenvalues of the matrix are the squared norms of the columns, up to the scale."""
    x = (torch.rand(40, 6, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    both = x.double().T @ x.double() / 40
    pmi = (both / (both.diagonal()[:, None] * both.diagonal())).log().clamp_min(0)
    pmi.fill_diagonal_(0)
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
