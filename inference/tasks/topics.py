"""Topics of bags of words: their words, their shares of documents, how coherent and how different they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.checks import check_count, check_equally_many, check_fraction, check_tensor
from pyrovae.data import Batch
from pyrovae.data.embeddings import pair_npmi
from pyrovae.display import Cells, Shown
from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.evidence.estimates import Estimate, Evaluation
from pyrovae.inference.latent.codes import encode
from pyrovae.inference.pair.contract import ProgramLike, modules
from pyrovae.inference.pair.running import ROWS, Transform, evaluating
from pyrovae.models.likelihoods.multinomial import orders
from pyrovae.models.topics import TopicDecoder

__all__ = [
    "Topics",
    "nats_per_word",
    "npmi",
    "relevance",
    "topic_diversity",
    "topic_scores",
    "topic_shares",
    "topics",
]


@dataclass(frozen=True, repr=False)
class Topics(Shown):
    """What `topics` found.

    Attributes:
        words: the words of each topic, those with the largest scores first, K times `num_words`.
        npmi: the coherence of each topic, from -1 to 1, `(K,)`.
        diversity: the share of different words among the 25 of each topic, from 1 / K to 1.
    """

    words: tuple[tuple[str, ...], ...]
    npmi: Tensor
    diversity: float

    @property
    def coherence(self) -> float:
        """The mean of `npmi` over the topics."""
        return self.npmi.mean().item()

    def cells(self) -> Cells:
        order = self.npmi.argsort(descending=True).tolist()
        rows = [(str(k), f"{self.npmi[k]:z.2f}", " ".join(self.words[k])) for k in order]
        last = f"mean NPMI {self.coherence:z.3f}, diversity {self.diversity:.3f}"
        return Cells(rows, ("topic", "NPMI", "words"), after=[last], words=(2,))


def topics(scores: Tensor, words: Sequence[str], counts: Tensor, *, num_words: int = 10) -> Topics:
    """The words of each topic, its coherence on some documents, and the diversity of all topics.

    Args:
        scores: how much each topic speaks for each word, `(K, V)`: `topic_scores(model)`, or those of another method,
            such as `components_` of scikit-learn's `LatentDirichletAllocation` and `NMF`.
        words: the V words, such as `dataset.vocabulary.words`.
        counts: counts of words in documents, `(N, V)`, such as those of the test split.
        num_words: the number of words of a topic, for its words and its coherence.

    Raises:
        SettingError: `num_words` is below 2, or above V.
        ShapeError: tensors that do not fit together, or another number of words.
    """
    scores = check_tensor("scores", scores, "(K, V)", dims=2, rows=1)
    check_equally_many("words", words, scores.shape[1], "columns of scores")
    coherence = npmi(scores, counts, num_words=num_words)
    told = tuple(tuple(words[i] for i in row) for row in _top(scores, num_words).tolist())
    return Topics(told, coherence, topic_diversity(scores, num_words=min(25, scores.shape[1])))


def npmi(scores: Tensor, counts: Tensor, *, num_words: int = 10) -> Tensor:
    """The coherence of each topic, `(K,)`: the mean NPMI of all pairs of its most important words.

    NPMI(v, w) = log [p(v, w) / (p(v) p(w))] / -log p(v, w), where p(w) is the share of the documents with the word w,
    and p(v, w) that with both. It is 1 for words that always come together, 0 for independent ones, and -1 for words
    that never do, such as a word that is in no document. Few or short documents lower it for every method: compare
    methods on the same documents.

    Args:
        scores: how much each topic speaks for each word, `(K, V)`.
        counts: counts of words in N documents, `(N, V)`.
        num_words: the number of words of a topic.

    Raises:
        SettingError: `num_words` is below 2, or above V.
        ShapeError: the tensors do not fit together.

    References: Bouma (2009), Normalized (pointwise) mutual information in collocation extraction; Lau et al. (2014),
    Machine reading tea leaves.
    """
    counts = check_tensor("counts", counts, "(N, V)", dims=2, rows=1)
    scores = check_tensor("scores", scores, "(K, V)", dims=2, rows=1)
    if counts.shape[1] != scores.shape[1]:
        raise ShapeError(f"counts requires (N, {scores.shape[1]}) as scores have words, got {tuple(counts.shape)}.")
    found = (counts > 0).double()
    top = _top(scores, num_words).to(counts.device)
    return torch.stack([_coherence(found[:, words]) for words in top])


def _coherence(found: Tensor) -> Tensor:
    """The mean NPMI of all pairs of W words, from which of them N documents have, `(N, W)`."""
    first, second = torch.triu_indices(found.shape[1], found.shape[1], 1)
    return pair_npmi(found)[first, second].mean()


def topic_diversity(scores: Tensor, *, num_words: int = 25) -> float:
    """The share of different words among the most important words of all topics: 1 where no two topics share one.

    Args:
        scores: how much each topic speaks for each word, `(K, V)`.
        num_words: the number of words of a topic.

    Raises:
        SettingError: `num_words` is no count, or above V.
        ShapeError: scores that are not `(K, V)`.

    References: Dieng, Ruiz & Blei (2020), arXiv:1907.04907.
    """
    top = _top(check_tensor("scores", scores, "(K, V)", dims=2, rows=1), num_words, least=1)
    return len(top.unique()) / top.numel()


def _top(scores: Tensor, num_words: int, least: int = 2) -> Tensor:
    """The most important words of each topic, `(K, num_words)`."""
    return scores.detach().topk(check_count("num_words", num_words, least, scores.shape[1], write=10), -1).indices


def topic_scores(model: ProgramLike) -> Tensor:
    """How much each topic of a model speaks for each word, `(K, V)`: the `scores` of its `TopicDecoder`.

    Args:
        model: a model with such a decoder.

    Raises:
        PairError: the model has none, or several.
    """
    with torch.no_grad(), evaluating(model):
        return _decoder("topic_scores", model).scores().detach()


def relevance(scores: Tensor, counts: Tensor, *, weight: float = 0.6) -> Tensor:
    """weight log p(w | topic) + (1 - weight) log [p(w | topic) / p(w)], `(K, V)`: fewer words that all topics share.

    Less weight names rarer words. Diversity rises then, and on few documents coherence falls: compare methods at the
    same weight.

    Args:
        scores: log p(w | topic) up to a constant of each topic, `(K, V)`, such as `topic_scores(model)`.
        counts: counts of words in the training documents, `(N, V)`, for p(w).
        weight: from 0 to 1; at 1 the scores themselves.

    Raises:
        SettingError: a weight outside [0, 1].
        ShapeError: the tensors do not fit together.

    References: Sievert & Shirley (2014), LDAvis, where a weight of 0.6 served readers best.
    """
    weight = check_fraction("weight", weight)
    scores = check_tensor("scores", scores, "(K, V)", dims=2, rows=1)
    counts = check_tensor("counts", counts, "(N, V)", dims=2, rows=1)
    if counts.shape[1] != scores.shape[1]:
        raise ShapeError(f"counts requires (N, {scores.shape[1]}) as scores have words, got {tuple(counts.shape)}.")
    total = counts.double().sum(0) + 0.5
    return scores - (1 - weight) * (total / total.sum()).log().to(scores)


def topic_shares(
    model: ProgramLike, guide: ProgramLike, data: Batch, *, latent: str = "z", transform: Transform | None = None
) -> Tensor:
    """The shares of the topics in each document, at the mean of q(z | x): `(N, K)`, each row of which sums to 1.

    Args:
        model, guide: the pair.
        data: named tensors of N documents.
        latent: the latent site that the decoder gets.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.

    Raises:
        PairError: the model has no `TopicDecoder`, or several, or the pair has no such site.
    """
    decoder = _decoder("topic_shares", model)
    codes = encode(model, guide, data, transform=transform)
    if latent not in codes:
        raise PairError(
            f"topic_shares requires a latent site of the guide, got {latent!r}. Write latent='{next(iter(codes))}'."
        )
    with torch.no_grad(), evaluating(model):
        return torch.cat([decoder.shares(rows) for rows in codes[latent].split(ROWS)])


def _decoder(what: str, model: ProgramLike) -> TopicDecoder:
    """The one decoder of topics of a model."""
    parts: list[nn.Module] = [part for module in modules(model) for part in module.modules()]
    found: list[Any] = [part for part in dict.fromkeys(parts) if isinstance(part, TopicDecoder)]
    if len(found) != 1:
        raise PairError(
            f"{what} requires a model with one TopicDecoder, got {len(found)}. Write VAE(prior, Multinomial(V), "
            "ProductOfTopics(K, V))."
        )
    return found[0]


def nats_per_word(measured: Evaluation, x: Tensor, *, bound: bool = False) -> Estimate:
    """-sum_n log p(words of document n in their order) / sum_n (number of words of n), in nats.

    The order of the words has no probability of its own, so this is the evidence of the counts without the number of
    orders that the same words could have: what the perplexity of a topic model, its exponential, is made of. The error
    is that of the draws; bias, interval and flag are those of the log-evidence, in these units.

    Args:
        measured: `evaluate(model, guide, {"x": x})`.
        x: the same documents, counts `(N, V)`.
        bound: whether to take the ELBO in place of the importance-sampled evidence.

    Raises:
        ShapeError: another number of documents than was measured.
    """
    x = check_tensor("x", x, "(N, V)", dims=2, rows=1)
    evidence = measured.elbo if bound else measured.log_evidence
    count = len(measured.per_datum["elbo"])
    if len(x) != count:
        raise ShapeError(f"nats_per_word requires the {count} documents that were measured, got {len(x)}. Pass those.")
    total = x.double().sum().item()
    return evidence.scaled(-count / total, orders(x).sum().item() / total)
