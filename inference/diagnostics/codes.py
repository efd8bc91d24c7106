"""How a pair uses a codebook: which codes, at which places, and how long they are under the prior."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.display import Cells, Shown
from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.on_data import PairOnData, on_data
from pyrovae.inference.pair.running import ROWS, Transform
from pyrovae.models.distributions.codes import CodeVectors
from pyrovae.numeric import wide

__all__ = ["CodeUse", "code_use", "code_use_on"]

VARIES = 0.1
"""The entropy, in nats, above which the codes of a place vary over the data."""


@dataclass(frozen=True, repr=False)
class CodeUse(Shown):
    """The codes at one latent site, over N data points.

    Attributes:
        counts: how many data points have code k at place i, `(n, K)`; places are those of the grid, row by row.
        length: E[-log p(c)], the mean code length of a data point under the model's prior, in nats. It is the rate of a
            guide whose codes are certain given x.
    """

    counts: Tensor
    length: float

    @property
    def size(self) -> int:
        """K, the number of codes."""
        return self.counts.shape[1]

    @property
    def places(self) -> int:
        """n, the number of places of the grid."""
        return self.counts.shape[0]

    @property
    def used(self) -> int:
        """How many of the K codes at least one data point has, at any place."""
        return int((self.counts.sum(0) > 0).sum())

    @property
    def perplexity(self) -> float:
        """exp of the entropy of the codes of all places together, from 1 to K."""
        return self._entropy(self.counts.sum(0)).exp().item()

    @property
    def entropies(self) -> Tensor:
        """The entropy of the codes of each place over the data, `(n,)`, in nats. Their sum bounds I(x; c)."""
        return self._entropy(self.counts)

    @property
    def varying(self) -> Tensor:
        """Which places have codes that vary over the data, an entropy above 0.1 nats, `(n,)`."""
        return self.entropies > VARIES

    @property
    def uniform_length(self) -> float:
        """n log K, the code length under a uniform prior, in nats."""
        return self.places * math.log(self.size)

    @staticmethod
    def _entropy(counts: Tensor) -> Tensor:
        return torch.special.entr(counts.double() / counts.sum(-1, keepdim=True)).sum(-1)

    def cells(self) -> Cells:
        rows = [
            ("codes in use", f"{self.used} of {self.size}"),
            ("perplexity", f"{self.perplexity:.1f}"),
            ("places that vary", f"{int(self.varying.sum())} of {self.places}"),
            ("sum of entropies", f"{self.entropies.sum().item():.2f} nats"),
            ("code length", f"{self.length:.2f} nats"),
            ("uniform prior", f"{self.uniform_length:.2f} nats"),
        ]
        return Cells(rows, words=(0, 1))


def code_use(
    model: ProgramLike, guide: ProgramLike, data: Batch, *, transform: Transform | None = None, seed: int = 0
) -> dict[str, CodeUse]:
    """Which codes the guide gives the data, and their length under the model's prior, for each latent that has codes.

    Args:
        model, guide, data: the pair, and named tensors of N data points.
        transform: what training applied to a batch; `pyrovae.data.Scale()` if None.
        seed: the seed of the draws and of a random transform; the global random state is left alone.

    Raises:
        PairError: no latent of the model has a prior over codes, such as `priors.UniformCodePrior`.
    """
    with on_data("code_use", model, guide, data, transform, seed=seed, single=True) as pair:
        found = code_use_on(pair)
    if not found:
        raise PairError(
            f"code_use requires a latent with a prior over codes, got {', '.join(map(repr, pair.traces.latent()))} "
            "without. Write VAE(priors.UniformCodePrior(codebook, grid), ...)."
        )
    return found


def code_use_on(pair: PairOnData) -> dict[str, CodeUse]:
    """The same for a pair on its data: nothing where no latent has codes.

    Args:
        pair: the pair on its data.
    """
    names = [name for name, (_, outer) in pair.traces.latent().items() if isinstance(outer["fn"], CodeVectors)]
    counts: dict[str, Tensor] = {}
    lengths = dict.fromkeys(names, 0.0)
    for _, batch in pair.batches(ROWS) if names else ():
        scored = pair.score(batch, 1)
        for name in names:
            inner, outer = scored.pair.latent()[name]
            chosen = _counted(outer["fn"], inner["value"]).cpu()
            counts[name] = counts[name] + chosen if name in counts else chosen
            lengths[name] -= wide(scored.terms.levels[name].log_prior).sum().item()
    return {name: CodeUse(counts[name], lengths[name] / pair.size) for name in names}


def _counted(fn: CodeVectors, z: Tensor) -> Tensor:
    """How many of the vectors `(B, D, *grid)` have each code at each place, `(n, K)`."""
    codes = fn.codes(z).flatten(-len(fn.over.event_shape)).flatten(0, -2)
    shifted = codes + fn.codebook.size * torch.arange(codes.shape[-1], device=codes.device)
    return torch.bincount(shifted.flatten(), minlength=codes.shape[-1] * fn.codebook.size).reshape(codes.shape[-1], -1)
