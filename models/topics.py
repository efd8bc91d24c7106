"""Topics as decoders of bags of words: a product of experts over words, and a mixture of topics."""

import math
from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn

from pyrovae.checks import check_count, check_fraction, check_tensor
from pyrovae.errors import ShapeError
from pyrovae.networks.bags import UnitBatchNorm
from pyrovae.networks.shape import LARGEST, leading
from pyrovae.recorded import Recorded

__all__ = ["MixtureOfTopics", "ProductOfTopics", "TopicDecoder"]


class TopicDecoder(Recorded, nn.Module, ABC):
    """The interface of a decoder of K topics: from a latent z `(*, K)` to the logits of V words, `(*, V)`.

    Topic k has a weight for each word w, W_kw: free, or rho_w . alpha_k, where words and topics have places in one
    space of E dimensions.

    Args:
        topics: the number of topics, K, at least 2.
        words: the number of different words, V.
        embedding: None for free weights; E, for places rho of words that are learned; or these places, `(V, E)`, which
            stay as they are, such as `pyrovae.data.word_embeddings(x, E)`. The places alpha of topics are learned.
        simplex: whether z are the shares of the topics themselves, as with a `Dirichlet` prior; otherwise the shares
            are softmax(z), as with a `LogisticNormal`.
        dropout: the dropout probability of the shares in training.

    Raises:
        SettingError: `topics`, `words` or `embedding` is no count, or `dropout` is outside [0, 1].
        ShapeError: the embedding has no row for each word; in a call, the last dimension of z is not K.
    """

    def __init__(self, topics: int, words: int, embedding: int | Tensor | None, simplex: bool, dropout: float) -> None:
        super().__init__()
        self.topics, self.words = check_count("topics", topics, 2), check_count("words", words, most=LARGEST)
        self.simplex, self.drop = simplex, nn.Dropout(check_fraction("dropout", dropout))
        self.embedded = embedding is not None
        if embedding is None:
            self.free = nn.Parameter(nn.init.xavier_uniform_(torch.empty(topics, words)))
        elif isinstance(embedding, Tensor):
            self._place(check_tensor("embedding", embedding, "(V, E)", dims=2, finite=True))
        else:
            width = check_count("embedding", embedding, most=LARGEST)
            self.rho = nn.Parameter(torch.randn(words, width) / width**0.5)
            self.alpha = nn.Parameter(torch.randn(topics, width))

    def _place(self, rho: Tensor) -> None:
        """Words at places that are not learned."""
        if len(rho) != self.words:
            raise ShapeError(
                f"embedding requires a row for each of {self.words} words, got {tuple(rho.shape)}. Write "
                "word_embeddings(x, 100), or embedding=100."
            )
        self.register_buffer("rho", rho.detach().clone())
        self.alpha = nn.Parameter(torch.randn(self.topics, rho.shape[1]))

    def weight(self) -> Tensor:
        """W, the weight of each word in each topic, `(K, V)`."""
        return self.alpha @ self.rho.T if self.embedded else self.free

    def shares(self, z: Tensor) -> Tensor:
        """The shares of the topics, which sum to 1: `(*, K)`."""
        leading(z, (self.topics,), type(self).__name__)
        return z if self.simplex else z.softmax(-1)

    def forward(self, z: Tensor) -> Tensor:
        return self.mixed(self.drop(self.shares(z)))

    @abstractmethod
    def mixed(self, shares: Tensor) -> Tensor:
        """The logits of the words, `(*, V)`, for `shares` of the topics, `(*, K)`."""

    @abstractmethod
    def scores(self) -> Tensor:
        """log p(w | a document of topic k alone) in evaluation mode, `(K, V)`: the largest ones describe a topic."""

    def divergence(self) -> Tensor:
        """(1 / K) sum_k KL(p(w | k) || p(w)), where p(w) is the mean of p(w | k), a scalar in nats.

        This is the Jensen-Shannon divergence of the topics: the information that a word has about its topic. It is 0
        for equal topics and log K for topics that share no word. As a prior, p(topics) = exp(c divergence), it makes
        topics differ: see the argument `log_prior` of `pyrovae.inference.ELBO`.

        References: Lin (1991), Divergence measures based on the Shannon entropy.
        """
        log_probs = self.scores()
        mean = log_probs.logsumexp(0) - math.log(self.topics)
        return (log_probs.exp() * (log_probs - mean)).sum(-1).mean()

    @abstractmethod
    def start_at(self, output: Tensor) -> None:
        """Start near these logits of the words.

        Args:
            output: `(V,)`, the same for every topic, such as those of the words of all documents; or `(K, V)`, such as
                `pyrovae.data.word_topics(x, K).log()`. With embeddings, each topic starts at the nearest place.
        """

    @torch.no_grad()
    def _start(self, shift: nn.Parameter, output: Tensor) -> None:
        """The mean logits as the shift that all topics share, and the deviations of each topic as its weights."""
        if output.shape not in ((self.words,), (self.topics, self.words)):
            raise ShapeError(
                f"start_at requires logits ({self.words},) or ({self.topics}, {self.words}), got "
                f"{tuple(output.shape)}. Write start_at(likelihood.start(x))."
            )
        shift.copy_(output if output.dim() == 1 else output.mean(0))
        if output.dim() == 2:
            deviations = output - shift
            if self.embedded:
                self.alpha.copy_(torch.linalg.lstsq(self.rho, deviations.T.to(self.rho)).solution.T)
            else:
                self.free.copy_(deviations)

    def extra_repr(self) -> str:
        width = f", embedding={self.rho.shape[1]}" if self.embedded else ""
        return f"topics={self.topics}, words={self.words}{width}" + (", simplex=True" if self.simplex else "")


class ProductOfTopics(TopicDecoder):
    """p(w | shares) = softmax(norm(sum_k shares_k W_k) + b)_w, so proportional to prod_k p(w | k)^shares_k.

    This is ProdLDA: each topic is an expert over words, and a document is their weighted product. The sum is normalised
    over the batch (`UnitBatchNorm`), whose shift is b, the log-frequencies of words that all topics share.

    Args:
        topics: the number of topics, K, at least 2.
        words: the number of different words, V.
        embedding: None for free weights W; E, for places rho of words that are learned; or these places, `(V, E)`,
            which stay as they are. Then W_kw = rho_w . alpha_k.
        simplex: whether z are the shares of the topics themselves, as with a `Dirichlet` prior; otherwise the shares
            are softmax(z), as with a `LogisticNormal`.
        dropout: the dropout probability of the shares in training.
        normalise: whether to normalise the sum over the batch. Without it most topics become copies of one another.

    Raises:
        SettingError: `topics`, `words` or `embedding` is no count, or `dropout` is outside [0, 1].
        ShapeError: the embedding has no row for each word; in a call, the last dimension of z is not K.

    References: Srivastava & Sutton (2017), arXiv:1703.01488.
    """

    def __init__(
        self,
        topics: int,
        words: int,
        embedding: int | Tensor | None = None,
        simplex: bool = False,
        dropout: float = 0.2,
        normalise: bool = True,
    ) -> None:
        super().__init__(topics, words, embedding, simplex, dropout)
        self.norm = UnitBatchNorm(words) if normalise else None
        self.shift = None if normalise else nn.Parameter(torch.zeros(words))

    def mixed(self, shares: Tensor) -> Tensor:
        total = shares @ self.weight()
        if self.norm is not None:
            return self.norm(total)
        return total if self.shift is None else total + self.shift

    def scores(self) -> Tensor:
        alone = self.weight()
        if self.norm is not None:
            alone = self.norm.averaged(alone)
        elif self.shift is not None:
            alone = alone + self.shift
        return alone.log_softmax(-1)

    def start_at(self, output: Tensor) -> None:
        self._start(cast(nn.Parameter, self.shift if self.norm is None else self.norm.shift), output)


class MixtureOfTopics(TopicDecoder):
    """p(w | shares) = sum_k shares_k softmax(W_k + b)_w: a document is a mixture of topics, as in LDA.

    With embeddings, W_kw = rho_w . alpha_k, this is the embedded topic model, ETM, and b, which all topics share, takes
    the frequencies of the words. With free weights it is the neural LDA of Srivastava & Sutton.

    Args:
        topics: the number of topics, K, at least 2.
        words: the number of different words, V.
        embedding: E, for places rho of words that are learned; or these places, `(V, E)`, which stay as they are; or
            None for free weights.
        simplex: whether z are the shares of the topics themselves, as with a `Dirichlet` prior; otherwise the shares
            are softmax(z), as with a `LogisticNormal`.
        dropout: the dropout probability of the shares in training; the likelihood normalises what remains.

    Raises:
        SettingError: `topics`, `words` or `embedding` is no count, or `dropout` is outside [0, 1].
        ShapeError: the embedding has no row for each word; in a call, the last dimension of z is not K.

    References: Dieng, Ruiz & Blei (2020), arXiv:1907.04907; Srivastava & Sutton (2017), arXiv:1703.01488.
    """

    def __init__(
        self,
        topics: int,
        words: int,
        embedding: int | Tensor | None = 300,
        simplex: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(topics, words, embedding, simplex, dropout)
        self.shift = nn.Parameter(torch.zeros(words))

    def mixed(self, shares: Tensor) -> Tensor:
        probs = shares @ (self.weight() + self.shift).softmax(-1)
        return probs.clamp_min(torch.finfo(probs.dtype).tiny).log()

    def scores(self) -> Tensor:
        return (self.weight() + self.shift).log_softmax(-1)

    def start_at(self, output: Tensor) -> None:
        self._start(self.shift, output)
