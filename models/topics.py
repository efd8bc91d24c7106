"""Topics as decoders of bags of words: a product of experts over words, and a mixture of topics."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pyrovae.checks import check_count, check_fraction
from pyrovae.networks.bags import UnitBatchNorm
from pyrovae.networks.shape import LARGEST, leading
from pyrovae.recorded import Recorded

__all__ = ["MixtureOfTopics", "ProductOfTopics", "TopicDecoder"]


class TopicDecoder(Recorded, nn.Module, ABC):
    """The interface of a decoder of K topics: from a latent z `(*, K)` to the logits of V words, `(*, V)`.

    Args:
        topics: the number of topics, K.
        words: the number of different words, V.
        simplex: whether z are the shares of the topics themselves, as with a `Dirichlet` prior; otherwise the shares
            are softmax(z), as with a `LogisticNormal`.
        dropout: the dropout probability of the shares in training.

    Raises:
        SettingError: `topics` or `words` is no count, or `dropout` is outside [0, 1].
        ShapeError: in a call, the last dimension of z is not K.
    """

    def __init__(self, topics: int, words: int, simplex: bool, dropout: float) -> None:
        super().__init__()
        self.topics, self.words = check_count("topics", topics, 2), check_count("words", words, most=LARGEST)
        self.simplex, self.drop = simplex, nn.Dropout(check_fraction("dropout", dropout))

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
        """log p(w | a document of topic k alone), `(K, V)`, as in evaluation mode: the words with the largest describe k."""

    @abstractmethod
    def start_at(self, output: Tensor) -> None:
        """Make every topic start at the logits `output`, `(V,)`, such as those of the words of the whole corpus."""

    def extra_repr(self) -> str:
        return f"topics={self.topics}, words={self.words}" + (", simplex=True" if self.simplex else "")


class ProductOfTopics(TopicDecoder):
    """p(w | shares) = softmax(norm(sum_k shares_k W_k) + b)_w, so proportional to prod_k p(w | k)^shares_k.

    This is ProdLDA: each topic is an expert over words, and a document is their weighted product. The sum is normalised
    over the batch (`UnitBatchNorm`), whose shift is b, the log-frequencies of words that all topics share.

    Args:
        topics: the number of topics, K.
        words: the number of different words, V.
        simplex: whether z are the shares of the topics themselves, as with a `Dirichlet` prior; otherwise the shares
            are softmax(z), as with a `LogisticNormal`.
        dropout: the dropout probability of the shares in training.
        normalise: whether to normalise the sum over the batch. Without it most topics become copies of one another.

    Raises:
        SettingError: `topics` or `words` is no count, or `dropout` is outside [0, 1].
        ShapeError: in a call, the last dimension of z is not K.

    References: Srivastava & Sutton (2017), arXiv:1703.01488.
    """

    def __init__(
        self, topics: int, words: int, simplex: bool = False, dropout: float = 0.2, normalise: bool = True
    ) -> None:
        super().__init__(topics, words, simplex, dropout)
        self.weight = nn.Parameter(torch.empty(topics, words))
        nn.init.xavier_uniform_(self.weight)
        self.norm = UnitBatchNorm(words) if normalise else None
        self.shift = None if normalise else nn.Parameter(torch.zeros(words))

    def mixed(self, shares: Tensor) -> Tensor:
        total = shares @ self.weight
        return total + self.shift if self.norm is None else self.norm(total)

    def scores(self) -> Tensor:
        alone = self.weight + self.shift if self.norm is None else self.norm.averaged(self.weight)
        return alone.log_softmax(-1)

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        (self.shift if self.norm is None else self.norm.shift).copy_(output)


class MixtureOfTopics(TopicDecoder):
    """p(w | shares) = sum_k shares_k softmax(logits_k)_w: a document is a mixture of topics, as in LDA.

    With embeddings this is the embedded topic model, ETM: logits_kw = rho_w . alpha_k, where words and topics have
    places in one space of E dimensions, all of them learned. Without, the logits are free: the neural LDA of Srivastava
    & Sutton.

    Args:
        topics: the number of topics, K.
        words: the number of different words, V.
        embedding: the dimension E of the embeddings; None for free logits.
        simplex: whether z are the shares of the topics themselves, as with a `Dirichlet` prior; otherwise the shares
            are softmax(z), as with a `LogisticNormal`.
        dropout: the dropout probability of the shares in training; the likelihood normalises what remains.

    Raises:
        SettingError: `topics`, `words` or `embedding` is no count, or `dropout` is outside [0, 1].
        ShapeError: in a call, the last dimension of z is not K.

    References: Dieng, Ruiz & Blei (2020), arXiv:1907.04907; Srivastava & Sutton (2017), arXiv:1703.01488.
    """

    def __init__(
        self,
        topics: int,
        words: int,
        embedding: int | None = 300,
        simplex: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(topics, words, simplex, dropout)
        self.shift = nn.Parameter(torch.zeros(words))
        if embedding is None:
            self.free = nn.Parameter(nn.init.xavier_uniform_(torch.empty(topics, words)))
        else:
            embedding = check_count("embedding", embedding, most=LARGEST)
            self.rho = nn.Parameter(torch.randn(words, embedding) / embedding**0.5)
            self.alpha = nn.Parameter(torch.randn(topics, embedding))
        self.embedding = embedding

    def logits(self) -> Tensor:
        """The logits of the words of each topic, `(K, V)`."""
        return (self.free if self.embedding is None else self.alpha @ self.rho.T) + self.shift

    def mixed(self, shares: Tensor) -> Tensor:
        probs = shares @ self.logits().softmax(-1)
        return probs.clamp_min(torch.finfo(probs.dtype).tiny).log()

    def scores(self) -> Tensor:
        return self.logits().log_softmax(-1)

    @torch.no_grad()
    def start_at(self, output: Tensor) -> None:
        self.shift.copy_(output)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, embedding={self.embedding}"
