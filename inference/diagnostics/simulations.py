"""One pass over draws of a guide: the ranks of joint quantities on simulated data, and a profile of each data point."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.inference.diagnostics.joint import DISTANCE, LOG_P, LOG_Q, Function, JointRanks
from pyrovae.inference.diagnostics.ranks import ranks_among
from pyrovae.inference.diagnostics.references import distances, flattened, references
from pyrovae.inference.diagnostics.scored import (
    SCORED,
    check_scores,
    columns_like,
    drawn_sites,
    log_joint,
    log_q_absent,
    log_q_drawn,
    log_q_of,
    picked,
    portions_of,
)
from pyrovae.inference.pair.contract import Site, batch_size
from pyrovae.inference.pair.on_data import PairOnData, by_dimension

__all__ = ["JointTally", "Profile", "Profiles", "Simulations", "apart", "moments"]


class Profile(NamedTuple):
    """What the guide says about each of N data points.

    Attributes:
        codes: E_q[z_d] by draws, `(N, D)` by latent site.
        evidence: log p(x) by a few importance samples; E_q log p(x, z) where log q is not known. `(N,)`.
    """

    codes: dict[str, Tensor]
    evidence: Tensor


class Simulations(NamedTuple):
    """Simulated data points, the latents that they come from, and one draw of the guide for each.

    Attributes:
        data: named tensors of N data points.
        latents: exact draws of p(z | x), `(N, D)` by latent site.
        drawn: draws of q(z | x), likewise.
        loc, scale: the moments of further draws of q(z | x), likewise.
    """

    data: dict[str, Tensor]
    latents: dict[str, Tensor]
    drawn: dict[str, Tensor]
    loc: dict[str, Tensor]
    scale: dict[str, Tensor]


def moments(draws: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation of draws, `(B, D)` each; the latter is 1 where all draws are alike.

    Args:
        draws: `(S, B, D)`.
    """
    scale, loc = torch.std_mean(draws.double(), 0, correction=0)
    return loc, torch.where(scale > 1e-12, scale, 1.0)


@contextmanager
def apart(pair: PairOnData, seed: int) -> Iterator[None]:
    """Inside, random numbers start from a seed; afterwards the random state is what it was before.

    Args:
        pair: the pair on its data.
        seed: the seed.
    """
    with torch.random.fork_rng([pair.device] if pair.device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


class Profiles:
    """Collects the profile of each data point from draws of the guide.

    Args:
        pair: the pair on its data.
    """

    def __init__(self, pair: PairOnData) -> None:
        self.pair, self.no_density = pair, log_q_absent(pair)
        self.codes: dict[str, list[Tensor]] = {}
        self.evidence: list[Tensor] = []

    def add(self, batch: Batch, drawn: Trace, num_samples: int) -> Tensor:
        """Add the data points of a batch, and give log p(x, z) of the first draws, `(SCORED, B)`.

        Args:
            batch: named tensors, already transformed.
            drawn: L draws of the guide for it.
            num_samples: L, at least 4.
        """
        found, shape = drawn_sites(self.pair, drawn), (num_samples, batch_size(batch))
        for name, site in found.items():
            code = by_dimension(site["value"], site, shape, self.pair.layout.depth).double().mean(0)
            self.codes.setdefault(name, []).append(code.cpu())
        count = min(SCORED, num_samples)
        parts = []
        for rows in portions_of(self.pair, shape[1]):
            few = {name: tensor[rows] for name, tensor in batch.items()}
            parts.append(log_joint(self.pair, few, picked(found, rows, count), count))
        log_p = torch.cat(parts, 1)
        log_w = log_p if self.no_density else log_p - log_q_drawn(self.pair, drawn, shape)[:count]
        self.evidence.append((log_w.mean(0) if self.no_density else log_w.logsumexp(0)).cpu())
        return log_p

    def result(self) -> Profile:
        """The profiles of all data points added so far."""
        codes = {name: torch.cat(parts) for name, parts in self.codes.items()}
        return Profile(codes, torch.cat(self.evidence))


class JointTally:
    """Collects the ranks of joint quantities over batches of simulated data.

    Args:
        pair: the pair on simulated data.
        simulated: the sites of the simulated latents, by name.
        truth: the same latents, `(N, D)` by name.
        functions: functions of latents and batch, by name.
        others: the data of other simulations, and their latents, to which the references are fitted.
    """

    def __init__(
        self,
        pair: PairOnData,
        simulated: dict[str, Site],
        truth: dict[str, Tensor],
        functions: Mapping[str, Function],
        others: tuple[Batch, dict[str, Tensor]],
    ) -> None:
        self.pair, self.simulated, self.truth, self.functions = pair, simulated, truth, functions
        self.profiles = Profiles(pair)
        self.ranks: dict[str, list[Tensor]] = {}
        self.counts: dict[str, int] = {}
        x, other = flattened(pair.data), flattened(others[0])
        width = min(x.shape[1], other.shape[1])  # simulated sequences may differ in length
        z = columns_like(truth, others[1], "Calibration")
        self.near, self.scale = references(x[:, :width], other[:, :width], z)

    def add(self, where: slice, batch: Batch, drawn: Trace, num_samples: int) -> None:
        """Add a batch of simulated data points.

        Args:
            where: its rows.
            batch: named tensors, already transformed.
            drawn: L draws of the guide for it.
            num_samples: L.
        """
        true = picked(self.simulated, where, 0)
        shape = num_samples, batch_size(batch)
        found, depth = drawn_sites(self.pair, drawn), self.pair.layout.depth
        draws = {name: by_dimension(site["value"], site, shape, depth) for name, site in found.items()}
        truth = {name: self.truth[name][where][None] for name in draws}
        self._rank(LOG_P, self.profiles.add(batch, drawn, num_samples), self._log_p(batch, true))
        if not self.profiles.no_density:
            self._rank(LOG_Q, log_q_drawn(self.pair, drawn, shape), log_q_of(self.pair, batch, true))
        near = self.near[where], self.scale
        self._rank(DISTANCE, *(distances(torch.cat(list(z.values()), -1).cpu(), *near) for z in (draws, truth)))
        for name, function in self.functions.items():
            self._rank(name, *(_checked(name, function(z, batch), z) for z in (draws, truth)))

    def _log_p(self, batch: Batch, true: dict[str, Tensor]) -> Tensor:
        return log_joint(self.pair, batch, true, 1)

    def _rank(self, name: str, draws: Tensor, truth: Tensor) -> None:
        self.counts[name] = len(draws)
        self.ranks.setdefault(name, []).append(ranks_among(draws, truth[0]).cpu())

    def result(self) -> JointRanks:
        """The ranks of all data points added so far."""
        absent = {LOG_Q: self.profiles.no_density} if self.profiles.no_density else {}
        return JointRanks({name: torch.cat(parts) for name, parts in self.ranks.items()}, self.counts, absent)


def _checked(name: str, result: Tensor, z: dict[str, Tensor]) -> Tensor:
    instead = "Sum over the last dimension of latents: lambda z, batch: z['z'].square().sum(-1)."
    return check_scores(f"functions[{name!r}]", result, z, instead)
