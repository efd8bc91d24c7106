"""Simulation-based calibration of a guide: the rank of a simulated latent among the guide's draws."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown, shortened
from pyrovae.inference.diagnostics.joint import Function, JointRanks
from pyrovae.inference.diagnostics.ranks import PER_BIN, central_share, chi_square_p_values, ranks_among
from pyrovae.inference.diagnostics.scored import drawn_sites
from pyrovae.inference.diagnostics.simulations import JointTally, Profile, Simulations, apart, moments
from pyrovae.inference.draws.arviz import attributes, coordinates, grouped, require_package
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call
from pyrovae.inference.pair.on_data import PairOnData, by_dimension, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, unchanged
from pyrovae.inference.pair.scoring import run_pair
from pyrovae.inference.pair.simulation import simulate
from pyrovae.inference.pair.tracing import sites

__all__ = ["Calibration", "calibration", "p_text"]

SIGMAS = 3.0
MOST_ROWS = 1000  # data points per call
OTHERS = 2**20  # from the seed of the simulations to that of those to which the references are fitted


@dataclass(frozen=True, repr=False)
class Calibration(Shown):
    """Ranks of simulated latents among draws of the guide: uniform on {0 ... L} if the guide is the posterior.

    Attributes:
        ranks: the number of the L draws of q(z | x_n) that are below z_n, `(N, D)` by latent site, int64.
        p_values: p-values of the chi-square test of uniformity in each dimension, `(D,)` by latent site.
        num_samples: L.
        joint: the ranks of joint quantities; None where the guide is a point.
        points: the latent sites at which all draws are alike, which have no test, with the share of simulated latents
            that equal the point.
        profile: what the guide says about each simulated data point.
        simulations: the simulated data points, their latents, and one draw of the guide for each.
    """

    ranks: dict[str, Tensor]
    p_values: dict[str, Tensor]
    num_samples: int
    joint: JointRanks | None = None
    points: dict[str, float] = field(default_factory=dict)
    profile: Profile | None = None
    simulations: Simulations | None = None

    @property
    def p_value(self) -> float:
        """The p-value of the hypothesis that all ranks are uniform: the smallest times their number (Bonferroni).

        NaN where the guide is a point at every site.
        """
        if not self.p_values:
            return math.nan
        every = torch.cat(list(self.p_values.values()))
        return min(1.0, every.min().item() * len(every))

    def pit(self) -> dict[str, Tensor]:
        """Ranks as numbers in (0, 1), uniform if calibrated: `(N, D)` by latent site, `(N,)` of joint quantities.

        `pyrovae.plots.pit` draws them, and ArviZ does after `to_arviz`.
        """
        found = {name: (ranks.double() + 0.5) / (self.num_samples + 1) for name, ranks in self.ranks.items()}
        if self.joint is None:
            return found
        counts = self.joint.num_samples
        return found | {name: (ranks.double() + 0.5) / (counts[name] + 1) for name, ranks in self.joint.ranks.items()}

    def to_arviz(self) -> Any:
        """`pit` as the group `prior_sbc` of an object of ArviZ, with the dimensions chain, draw (simulation), `z_dim`.

        In arviz 1.x it is a DataTree, and `az.plot_ecdf_pit(found.to_arviz())` draws all of it,
        `coverage=True` as coverage of central intervals. In arviz 0.x it is an InferenceData, whose columns are for
        `az.plot_ecdf(tree.prior_sbc["z"][0, :, 0], cdf=scipy.stats.uniform.cdf, difference=True)`.

        Raises:
            MissingExtraError: arviz is not installed.
        """
        xarray = require_package("xarray")
        pit = {name: values[None].numpy() for name, values in self.pit().items()}
        variables = {n: (("chain", "draw", f"{n}_dim")[: values.ndim], values) for n, values in pit.items()}
        dataset = xarray.Dataset(variables)
        coords = coordinates(dataset.sizes, None)
        return grouped({"prior_sbc": dataset.assign_coords(coords).assign_attrs(attributes(corrected=False))})

    def curves(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Levels from 0 to 1, and the share of simulated latents in regions of each level, `(L + 2,)` each.

        They are those of the central intervals of each dimension, such as "z[0]", and of the regions of `joint`.
        `pyrovae.plots.coverage` draws them.
        """
        found = {}
        levels = torch.linspace(0, 1, self.num_samples + 2, dtype=torch.float64)
        for name in self.p_values:
            shares = torch.stack([self.coverage(name, level) for level in levels.tolist()], 1)
            found |= {f"{name}[{d}]": (levels, share) for d, share in enumerate(shares)}
        return found | ({name: self.joint.curve(name) for name in self.joint.ranks} if self.joint else {})

    def coverage(self, latent: str, level: float = 0.9) -> Tensor:
        """The share of simulated latents in the guide's central intervals, in each dimension, `(D,)`.

        Args:
            latent: the name of a latent site.
            level: the share of the guide's draws in an interval, from 0 to 1.
        """
        return central_share(self.ranks[latent], self.num_samples, level)

    def shape(self, latent: str) -> tuple[Tensor, Tensor]:
        """How many standard errors the variance and the mean of the ranks are off in each dimension, `(D,)` each.

        A variance that is too high (ranks at both ends) means that the guide is too narrow, one that is too low that it
        is too wide. A mean that is too high means that the guide's draws are too low.

        Args:
            latent: the name of a latent site.
        """
        levels, count = self.num_samples + 1, len(self.ranks[latent])
        u = (self.ranks[latent].double() + 0.5) / levels
        variance = (1 - levels**-2) / 12
        spread = (u.var(0, correction=0) - variance) / math.sqrt(1 / 180 / count)
        return spread, (u.mean(0) - 0.5) / math.sqrt(variance / count)

    def words(self, threshold: float = 0.01) -> str:
        """The verdict on the ranks; a dimension is shifted if its mean is further off than its variance.

        Args:
            threshold: the p-value below which ranks are not uniform; Bonferroni divides it by their number.
        """
        if not self.p_values:
            return f"the guide is {self._pointed()}: a point and not a posterior, so there are no ranks to test"
        every = torch.cat(list(self.p_values.values()))
        bad = every < threshold / len(every)
        if not bad.any():
            return "the ranks of simulated latents are uniform: the guide is calibrated on the model's own data"
        spread, off = (torch.cat(parts)[bad] for parts in zip(*map(self.shape, self.p_values), strict=True))
        found = {
            "too narrow": (spread > SIGMAS) & (spread > off.abs()),
            "too wide": (spread < -SIGMAS) & (-spread > off.abs()),
            "shifted": (off.abs() > SIGMAS) & (off.abs() >= spread.abs()),
        }
        said = [f"{words} in {int(n.sum())} of {len(every)} dimensions" for words, n in found.items() if n.any()]
        return "the guide is " + (
            ", ".join(said) or f"of the wrong shape in {int(bad.sum())} of {len(every)} dimensions"
        )

    def _pointed(self) -> str:
        return ", ".join(f"certain of {n}, which has {100 * s:.0f} % of the values" for n, s in self.points.items())

    def consequence(self) -> str:
        """What the ranks mean for the 90 % intervals of the dimension where they are furthest off, in a few words."""
        shares = {(name, d): share for name in self.p_values for d, share in enumerate(self.coverage(name).tolist())}
        name, d = max(shares, key=lambda one: abs(shares[one] - 0.9))
        place = name if len(self.p_values[name]) == 1 else f"{name}[{d}]"
        return f"90 % intervals of {place} hold {100 * shares[name, d]:.0f} %"

    def misses(self, threshold: float = 0.01) -> bool:
        """Whether the guide fails to draw where the latents are: it is too narrow, shifted, or of the wrong shape.

        A guide that is too wide fails the test of uniform ranks too, but draws everywhere.

        Args:
            threshold: as in `words`.
        """
        every = torch.cat(list(self.p_values.values()))
        spread = torch.cat([self.shape(name)[0] for name in self.p_values])
        off = torch.cat([self.shape(name)[1] for name in self.p_values])
        wide = (spread < -SIGMAS) & (-spread > off.abs())
        return bool(((every < threshold / len(every)) & ~wide).any())

    def cells(self) -> Cells:
        rows = []
        for name, p_values in self.p_values.items():
            spread, off = self.shape(name)
            for d, p in enumerate(p_values.tolist()):
                rows.append((f"{name}[{d}]", p_text(p), f"{spread[d].item():.1f}", f"{off[d].item():.1f}"))
        count = len(next(iter(self.ranks.values())))
        shown, more = shortened(rows)
        notes = [
            f"variance and mean of the ranks in standard errors from uniform ones; {count:,} simulations",
            f"p-value {p_text(self.p_value)}: {self.words()}" if self.p_values else self.words(),
        ]
        notes += [f"jointly, p-value {p_text(self.joint.p_value)}: {self.joint.words()}"] if self.joint else []
        return Cells(shown, ("dimension", "p-value", "variance", "mean"), after=[*more, *notes])


def p_text(p: float) -> str:
    """A p-value as every table and page prints it; below 1e-16 its size means nothing.

    Args:
        p: the p-value.
    """
    return "< 1e-16" if p < 1e-16 else f"{p:.3g}"


def calibration(
    model: ProgramLike,
    guide: ProgramLike,
    num_simulations: int = 500,
    *,
    num_samples: int = 99,
    given: Batch | None = None,
    functions: Mapping[str, Function] | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Calibration:
    """Simulate z_n and x_n from the model, draw z from q(z | x_n), and rank z_n among the draws.

    The ranks are those of each dimension, and of joint quantities (`JointRanks`): log p(x, z), log q(z | x), the
    distance to a reference point near E[z | x], and functions of yours. This judges the guide on the model's own data,
    where it may do worse or better than on yours. Equal values, such as equal labels, are ranked at random. A guide
    whose draws are all alike, such as one of certain codes, is a point and not a posterior, and has no test.

    Args:
        model, guide: the pair; the model takes an argument `size`.
        num_simulations: N, the number of simulated data points.
        num_samples: L, draws per data point. Choose L + 1 with many divisors: the bins of the test are then equal.
        given: what the model conditions on, such as `y`, at least N rows.
        functions: functions of latents and batch whose values are ranked too, by name, such as
            `{"norm": lambda z, batch: z["z"].square().sum(-1)}`. They get the latents as `(S, B, D)` by name, and
            return `(S, B)`.
        memory: about how many bytes a chunk of draws may take.
        seed: the seed of the simulations and the draws; the global random state is left alone.
        progress: show a bar over the simulated data points.

    Raises:
        SettingError: fewer than 25 simulations or 4 draws.
        PairError: a latent outside the plate "data"; a model that does not
            generate.
        ShapeError: too few rows are given; a function returns another shape.

    References: Talts et al. (2018), Validating Bayesian inference algorithms with simulation-based calibration,
    arXiv:1804.06788; Yao et al. (2018), arXiv:1802.02538, for guides.
    """
    check_count("num_simulations", num_simulations, 5 * PER_BIN, write=500)
    check_count("num_samples", num_samples, 4, write=99)
    data, simulated = simulate("calibration", model, guide, num_simulations, given or {}, seed)
    others = simulate("calibration", model, guide, num_simulations, given or {}, seed + OTHERS)
    with on_data("calibration", model, guide, data, unchanged, memory=memory, seed=seed + 1) as pair:
        pair.require_independent()
        return _ranked(pair, simulated, others, num_samples, functions or {}, progress)


@dataclass
class _Tally:
    """Collects ranks over batches of simulated data.

    Attributes:
        pair: the pair on simulated data.
        truth: the simulated latents, `(N, D)` by name.
        ranks: by name.
        alike: whether all draws so far were the same at each data point, by name.
        hits: how many of the first draws equal the truth, by name.
        first: the first draws, by name.
        others: the mean and the standard deviation of the other draws, by name.
    """

    pair: PairOnData
    truth: dict[str, Tensor]
    ranks: dict[str, list[Tensor]] = field(default_factory=dict)
    alike: dict[str, bool] = field(default_factory=dict)
    hits: dict[str, float] = field(default_factory=dict)
    first: dict[str, list[Tensor]] = field(default_factory=dict)
    others: dict[str, list[tuple[Tensor, Tensor]]] = field(default_factory=dict)

    def add(self, where: slice, batch: Batch, drawn: Trace, num_samples: int) -> None:
        """Rank the true latents of some rows among the draws of the guide for them."""
        depth, shape = self.pair.layout.depth, (num_samples, batch_size(batch))
        latent = self.pair.traces.latent()
        for name, site in sites(drawn).items():
            if name in latent:
                draws, truth = by_dimension(site["value"], site, shape, depth), self.truth[name][where]
                self.ranks.setdefault(name, []).append(ranks_among(draws, truth))
                self.first.setdefault(name, []).append(draws[0].cpu())
                self.others.setdefault(name, []).append(moments(draws[1:].cpu()))
                self.alike[name] = self.alike.get(name, True) and bool((draws == draws[:1]).all())
                hits = (draws[0] == truth).double().mean(-1).sum().item()
                self.hits[name] = self.hits.get(name, 0.0) + hits / self.pair.size

    def points(self) -> dict[str, float]:
        """The share of simulated latents that a guide of points has right, at each site where its draws are alike."""
        return {name: self.hits[name] for name, alike in self.alike.items() if alike}

    def result(self) -> dict[str, Tensor]:
        """All ranks so far."""
        return {name: torch.cat(part).cpu() for name, part in self.ranks.items()}

    def simulations(self) -> Simulations:
        """The simulated data points and latents, and the first draws."""
        data = {name: tensor.cpu() for name, tensor in self.pair.data.items()}
        latents = {name: truth.cpu() for name, truth in self.truth.items()}
        drawn = {name: torch.cat(self.first[name]) for name in latents}
        loc, scale = ({name: torch.cat([one[k] for one in self.others[name]]) for name in latents} for k in (0, 1))
        return Simulations(data, latents, drawn, loc, scale)


def _latents(pair: PairOnData, simulated: Trace) -> dict[str, Tensor]:
    """The latents of a simulation, `(N, D)` by name."""
    shape, depth = (1, pair.size), pair.layout.depth
    drawn = drawn_sites(pair, simulated)
    return {name: by_dimension(site["value"], site, shape, depth)[0] for name, site in drawn.items()}


def _ranked(
    pair: PairOnData,
    simulated: Trace,
    others: tuple[Batch, Trace],
    num_samples: int,
    functions: Mapping[str, Function],
    progress: bool,
) -> Calibration:
    """The ranks of the simulated latents among draws of the guide."""
    drawn, truth = drawn_sites(pair, simulated), _latents(pair, simulated)
    tally, draw = _Tally(pair, truth), partial(_draws, pair, num_samples)
    rows = max(1, pair.memory // (64 * num_samples * max(t.shape[1] for t in truth.values())))
    with apart(pair, pair.seed + 1):
        joint = JointTally(pair, drawn, truth, functions, (others[0], _latents(pair, others[1])))
    with progress_bar(progress, pair.size, "data point") as bar:
        for where, batch in pair.batches(min(rows, MOST_ROWS)):
            run = draw(batch)
            tally.add(where, batch, run, num_samples)
            with apart(pair, pair.seed + 2 + where.start):
                joint.add(where, batch, run, num_samples)
            bar.update(batch_size(batch))
    ranks, points = tally.result(), tally.points()
    p_values = {name: chi_square_p_values(r, num_samples) for name, r in ranks.items() if name not in points}
    found = None if points else joint.result()
    return Calibration(ranks, p_values, num_samples, found, points, joint.profiles.result(), tally.simulations())


def _draws(pair: PairOnData, num_samples: int, batch: Batch) -> Trace:
    """A run of the guide with L draws."""
    return run_pair(lambda: None, partial(call, pair.guide, batch), num_samples, pair.layout.depth).guide
