"""Embeddings of words, from the documents that they come in together."""

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_tensor

__all__ = ["word_embeddings"]

NEVER = 1e-12
"""The share of documents of a word that is in none, so that its logarithms are finite; none of them is used."""


def word_embeddings(x: Tensor, dim: int = 100) -> Tensor:
    """A place for each word, `(V, E)`: words that come in the same documents are near one another.

    The places are U S^(1/2), where U S V' is the singular value decomposition, of rank E, of the matrix
    max(0, log [p(v, w) / (p(v) p(w))]), and p are shares of the documents. They are scaled to a mean norm of 1.
    Skip-gram embeddings factorise a matrix of this kind.

    Args:
        x: counts of words in documents, `(N, V)`, such as those of the training split.
        dim: the dimension E, at most V.

    Raises:
        SettingError: `dim` is no count, or above V.
        ShapeError: x is not `(N, V)`.

    References: Levy & Goldberg (2014), Neural word embedding as implicit matrix factorization.
    """
    x = check_tensor("x", x, "(N, V)", dims=2, rows=1)
    dim = check_count("dim", dim, most=x.shape[1])
    found = (x > 0).double()
    both = found.T @ found / len(found)
    alone = both.diagonal().clamp_min(NEVER)
    pmi = (both / (alone[:, None] * alone)).clamp_min(1.0).log()
    with torch.random.fork_rng(devices=[]):  # the decomposition starts at random directions
        torch.manual_seed(0)
        vectors, values, _ = torch.svd_lowrank(pmi, dim, niter=6)
    places = vectors * values.sqrt()
    return (places / places.norm(dim=1).mean().clamp_min(NEVER)).to(torch.get_default_dtype())
