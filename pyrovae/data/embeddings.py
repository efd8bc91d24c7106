"""Embeddings of words and topics, from the documents that words come in together."""

import warnings
from typing import Literal

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_fraction, check_positive, check_tensor
from pyrovae.errors import SettingError
from pyrovae.imports import imported

__all__ = ["word_embeddings", "word_topics"]

NEVER = 1e-12
"""The share of documents of a word that is in none, so that its logarithms are finite; none of them is used."""

_FACTORISATIONS: dict[str, dict[str, str]] = {
    "tf-idf": {"init": "nndsvd"},
    "counts": {"init": "nndsvda", "beta_loss": "kullback-leibler", "solver": "mu"},
}
"""What scikit-learn's NMF is told about the entries that it approximates."""


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


def word_topics(
    x: Tensor, topics: int, *, of: Literal["tf-idf", "counts"] = "tf-idf", smoothing: float = 0.05
) -> Tensor:
    """p(word | topic) of each topic by a factorisation, `(K, V)`, where a topic model starts.

    scikit-learn's NMF approximates the documents by a product of two matrices without negative entries, A B. Row k of
    B, divided by its sum, is topic k; `smoothing` mixes it with p(word) of all documents, which leaves no word without
    probability. Equal counts have equal topics: nothing is drawn.

    Args:
        x: counts of words in documents, `(N, V)`, such as those of the training split.
        topics: the number of topics, K, at least 2 and at most min(N, V).
        of: `"tf-idf"`, the tf-idf weights of the documents, by squared errors; or `"counts"`, by the Kullback-Leibler
            loss, for titles and other short documents.
        smoothing: the share of p(word), above 0, at most 1.

    Raises:
        SettingError: `topics` is no count or too large, `smoothing` is outside these bounds, or `of` has another name.
        ShapeError: x is not `(N, V)`.
        MissingExtraError: scikit-learn is not installed.

    References: Lee & Seung (1999), Learning the parts of objects by non-negative matrix factorization.
    """
    x = check_tensor("x", x, "(N, V)", dims=2, rows=1)
    topics = check_count("topics", topics, 2, min(x.shape))
    smoothing = check_positive("smoothing", check_fraction("smoothing", smoothing), write=0.05)
    if of not in _FACTORISATIONS:
        raise SettingError(f"word_topics requires of='tf-idf' or of='counts', got {of!r}.")
    install = "word_topics requires", "pyrovae[data]"
    text, factors = (imported(f"sklearn.{name}", *install) for name in ("feature_extraction.text", "decomposition"))
    weights = text.TfidfTransformer(use_idf=of == "tf-idf", norm="l2" if of == "tf-idf" else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a start need not have converged
        nmf = factors.NMF(topics, max_iter=400, random_state=0, **_FACTORISATIONS[of])
        found = nmf.fit(weights.fit_transform(x.cpu().double().numpy()))
    rows = torch.from_numpy(found.components_) + NEVER
    words = x.cpu().double().sum(0) + 0.5
    probs = (1 - smoothing) * rows / rows.sum(1, keepdim=True) + smoothing * words / words.sum()
    return probs.to(x.device, torch.get_default_dtype())
