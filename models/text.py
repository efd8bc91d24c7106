"""Models of sentences: p(x, z) = p(z) prod_t p(x_t | x_<t, z), by an LSTM or a causal transformer."""

import pyro
from torch import Tensor, nn

from pyrovae.data.tokens import BOS, EOS, PAD, lengths
from pyrovae.errors import SupportError
from pyrovae.models.decoders import LSTMDecoder, TransformerDecoder
from pyrovae.models.distributions.sentences import Sentences
from pyrovae.models.program import Program, plate_size
from pyrovae.recorded import Recorded

__all__ = ["Autoregressive", "LanguageModel", "TextVAE"]


class Autoregressive(Recorded, nn.Module):
    """The likelihood of a sentence, p(x | z) = prod_t p(x_t | x_<t, z).

    Args:
        decoder: `LSTMDecoder`, `TransformerDecoder`, or a module with the same three methods.
        length: the number of tokens T of a generated sentence, padding included; a scored one may have any number.

    Raises:
        SupportError: in `check`, x is not a sentence.
    """

    def __init__(self, decoder: LSTMDecoder | TransformerDecoder, length: int) -> None:
        super().__init__()
        self.decoder, self.length = decoder, length

    def forward(self, z: Tensor, x: Tensor | None = None) -> Sentences:
        """p(x | z), event shape `(T,)`, with the T of `x` where it is given."""
        return Sentences(self.decoder, z, self.length if x is None else x.shape[-1])

    def check(self, x: Tensor) -> None:
        """Raise SupportError where `x` is not words, then EOS, then PAD. A sentence of T tokens may lack EOS."""
        words = self.decoder.words
        if x.is_floating_point() or x.min() < 0 or x.max() >= words or (x == BOS).any():
            raise SupportError(
                f"a sentence requires int64 tokens {EOS}, ..., {words - 1}, and {PAD} for padding, got {x.dtype} from "
                f"{x.min().item()} to {x.max().item()} at site 'x'. Write Vocabulary.encode(sentences)."
            )
        lengths(x)
        ended = (x == EOS) | (x == PAD)
        broken = ((x[..., 1:] == PAD) != ended[..., :-1]).any(-1)
        if broken.any():
            raise SupportError(
                f"a sentence requires words, then one EOS = {EOS}, then PAD = {PAD} alone, got "
                f"{int(broken.sum())} at site 'x' without this form, the first {x[broken][0].tolist()[:20]}. Write "
                "Vocabulary.encode(sentences)."
            )

    def extra_repr(self) -> str:
        return f"length={self.length}"


class TextVAE(Program):
    """p(x, z) = p(z) prod_t p(x_t | x_<t, z), where x is a sentence of tokens, as in `pyrovae.data.tokens`.

    Args:
        prior: `prior() -> p(z)`.
        likelihood: `Autoregressive(decoder, T)`.

    Call it with a batch `x` of shape `(B, T)`, of any T, to score, or with `size` to generate.

    References: Bowman et al. (2016), arXiv:1511.06349.
    """

    def __init__(self, prior: nn.Module, likelihood: Autoregressive) -> None:
        super().__init__()
        self.prior, self.likelihood = prior, likelihood

    def forward(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        with pyro.plate("data", plate_size(x, size), dim=-1):
            z = pyro.sample("z", self.prior())  # z ~ p(z)
            return pyro.sample("x", self.likelihood(z, x), obs=x)  # x_t ~ p(x_t | x_<t, z)


class LanguageModel(Program):
    """p(x) = prod_t p(x_t | x_<t), without a latent: the evidence is exact, and the guide has no site.

    Args:
        likelihood: `Autoregressive(decoder, T)` with a decoder of `latent=0`.

    Call it with a batch `x` of shape `(B, T)`, of any T, to score, or with `size` to generate.
    """

    def __init__(self, likelihood: Autoregressive) -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        count = plate_size(x, size)
        nothing = self.likelihood.decoder.head.weight.new_empty(count, 0)
        with pyro.plate("data", count, dim=-1):
            return pyro.sample("x", self.likelihood(nothing, x), obs=x)  # x_t ~ p(x_t | x_<t)
