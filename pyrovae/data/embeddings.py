"""Embeddings of words and topics, from the documents that words come in together."""

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_fraction, check_number, check_positive, check_tensor

__all__ = ["pair_npmi", "word_embeddings", "word_topics"]

NEVER = 1e-12
"""The share of documents of a word that is in none, so that its logarithms are finite; none of them is used."""

PARTS = 10
"""Coherence is the mean of that in so many parts of documents: words that met once are coherent in one part alone."""

SWEEPS = 60
"""How often each place of a topic is given a word anew."""

HEATS = (0.2, 0.002)
"""The scale of the noise in the first sweep and in the last one, in NPMI."""


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


def pair_npmi(found: Tensor) -> Tensor:
    """NPMI(v, w) = log [p(v, w) / (p(v) p(w))] / -log p(v, w) of each pair of words, `(V, V)`.

    p are shares of the documents. It is -1 for words that are never together, and 1 for words that always are.

    Args:
        found: whether each of N documents has each of V words, 0 or 1, `(N, V)`.
    """
    both = found.T @ found / len(found)
    alone = both.diagonal()
    never, always = both == 0, both == 1
    safe = torch.where(never | always, 0.5, both)
    value = (safe / (alone[:, None] * alone).clamp_min(1e-30)).log() / -safe.log()
    return torch.where(never, -1.0, torch.where(always, 1.0, value))


def word_topics(
    x: Tensor, topics: int, *, num_words: int = 10, distinct: float = 0.3, smoothing: float = 0.05
) -> Tensor:
    """p(word | topic) of topics of words that come together, `(K, V)`: where a topic model starts, or its prior mean.

    Each topic has a set of words, and all sets together are at a local maximum of

        mean NPMI of the pairs of a set + 2 distinct (share of different words among those of all sets)

    found by simulated annealing, where NPMI is the mean of that in ten parts of the documents. The other words are
    dealt to the topics in turn, to each the word that is the most coherent with its set. A topic is drawn from its set
    with probability 0.7, each word alike, and otherwise from the words dealt to it, by their frequencies; `smoothing`
    mixes it with p(word) of all documents, which leaves no word without probability. The search draws from torch's
    random state, so `torch.manual_seed` repeats it. The memory is that of a few matrices `(V, V)`.

    Args:
        x: counts of words in documents, `(N, V)`, such as those of the training split.
        topics: the number of topics, K, at least 2 and at most V / 2.
        num_words: the number of words in a set, at least 2; fewer where there are fewer than K times as many words.
        distinct: the mean NPMI with the other words of a set that a word in no other set may lack.
        smoothing: the share of p(word), above 0, at most 1.

    Raises:
        SettingError: `topics` or `num_words` is no count, or too small or large, or another number is outside these
            bounds.
        ShapeError: x is not `(N, V)`.

    References: Lau, Newman & Baldwin (2014), Machine reading tea leaves, for NPMI; Li et al. (2023),
    arXiv:2305.16199, where coherence and diversity are a loss; Jagarlamudi et al. (2012), Incorporating lexical
    priors into topic models.
    """
    x = check_tensor("x", x, "(N, V)", dims=2, rows=1)
    topics = check_count("topics", topics, 2, x.shape[1] // 2)
    size = min(check_count("num_words", num_words, 2), x.shape[1] // topics)
    distinct = check_number("distinct", distinct, 0.0, write=0.3)
    smoothing = check_positive("smoothing", check_fraction("smoothing", smoothing), write=0.05)
    counts, parts = x.cpu().float(), min(PARTS, len(x))
    npmi = torch.zeros(x.shape[1], x.shape[1])
    for part in range(parts):
        npmi += pair_npmi((counts[part::parts] > 0).float())
    npmi /= parts
    sets = _sets(npmi, topics, size, distinct)
    words = (counts.sum(0) + 0.5) / (counts.sum(0) + 0.5).sum()
    inside = torch.zeros(topics, len(words)).scatter_(1, sets, 1.0 / size)
    dealt = torch.where(_dealt(npmi @ inside.T, inside.sum(0) == 0), words, NEVER)
    probs = 0.7 * inside + 0.3 * dealt / dealt.sum(1, keepdim=True)
    return ((1 - smoothing) * probs + smoothing * words).to(x.device, torch.get_default_dtype())


def _sets(npmi: Tensor, topics: int, size: int, distinct: float) -> Tensor:
    """The words of each topic, `(K, W)`: each place in turn takes the best word beside the others, under noise."""
    sets = torch.stack([torch.randperm(len(npmi))[:size] for _ in range(topics)])
    uses = torch.bincount(sets.flatten(), minlength=len(npmi))
    for share in torch.linspace(0, 1, SWEEPS).tolist():
        heat = HEATS[0] ** (1 - share) * HEATS[1] ** share
        for words in sets:
            total = npmi[words].sum(0)
            for place, old in enumerate(words.tolist()):
                total -= npmi[old]
                uses[old] -= 1
                gumbel = -torch.empty(len(npmi)).exponential_().log()
                gain = total / (size - 1) + distinct * (uses == 0) + heat * gumbel
                gain[words] = torch.where(words == old, gain[words], -torch.inf)
                new = int(gain.argmax())
                words[place] = new
                total += npmi[new]
                uses[new] += 1
    return sets


def _dealt(coherence: Tensor, free: Tensor) -> Tensor:
    """Which topic has which of the free words, `(K, V)`, by the coherence of each word with each topic, `(V, K)`."""
    dealt, free = torch.zeros(coherence.T.shape, dtype=torch.bool), free.clone()
    for turn in range(int(free.sum())):
        topic = turn % len(dealt)
        word = torch.where(free, coherence[:, topic], -torch.inf).argmax()
        dealt[topic, word] = True
        free[word] = False
    return dealt
