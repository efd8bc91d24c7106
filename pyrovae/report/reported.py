"""A pair in a report: the programs, the data points that are shown, and their codes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference import decode, encode, generate
from pyrovae.inference.pair.contract import ProgramLike, batch_size, takes
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.on_data import is_point
from pyrovae.inference.pair.running import batches, device_of, evaluating, seeded
from pyrovae.inference.pair.tracing import trace_pair
from pyrovae.models.distributions.codes import CertainCodes
from pyrovae.report.album import Camera

__all__ = ["ReportedPair"]

POINTS = 400
"""How many data points a report shows at most."""

T = TypeVar("T")


@dataclass(frozen=True)
class ReportedPair:
    """A pair, and the data points that its report shows.

    Attributes:
        model, guide: the pair.
        batch: the data points that are shown, as the programs get them.
        site: the observed site that is shown.
        given: the tensors of the batch that the model is given.
        codes: the code of each data point at each latent site, in the order of the model.
        density: whether the guide has a density. A point mass has none, so there is no evidence and nothing to draw.
        judged: whether `diagnose` can judge the guide, which has a density, or codes that are certain given x.
        camera: how data points are shown.
        classes: the names of the labels 0, 1, ...
        seed: the seed of every draw.
    """

    model: ProgramLike
    guide: ProgramLike
    batch: Batch
    site: str
    given: Batch
    codes: dict[str, Tensor]
    density: bool
    judged: bool
    camera: Camera
    classes: tuple[str, ...]
    seed: int

    @classmethod
    def of(
        cls,
        model: ProgramLike,
        guide: ProgramLike,
        data: Batch,
        transform: Any = None,
        classes: Sequence[str] = (),
        seed: int = 0,
    ) -> "ReportedPair":
        """Run a pair on the first `POINTS` data points.

        Args:
            model, guide, data: the pair and its data.
            transform: what training applied to a batch; `pyrovae.data.Scale()` if None.
            classes: the names of the labels 0, 1, ...
            seed: the seed of every draw.
        """
        data, device = entered("report", data, transform, model, guide), device_of(model, guide)
        with evaluating(model, guide), seeded(seed, device):
            batch = next(batches(data, POINTS, transform, device))
            pair = trace_pair(model, guide, batch, data_size=batch_size(data))
        observed = list(pair.observed())
        site = "x" if "x" in observed else observed[0]
        drawn = _mean_or_draw(lambda mean: encode(model, guide, batch, mean=mean, seed=seed))
        size = batch_size(batch)
        codes = {n: drawn[n] for n in pair.latent() if n in drawn and drawn[n].dim() and len(drawn[n]) == size}
        given = {n: t for n, t in batch.items() if takes(model, n) and n not in (*observed, *drawn)}
        points = [inner for inner, _ in pair.latent().values() if is_point(inner)]
        density, judged = not points, all(isinstance(inner["fn"], CertainCodes) for inner in points)
        names, camera = tuple(map(str, classes)), Camera.of(batch[site])
        return cls(model, guide, batch, site, given, codes, density, judged, camera, names, seed)

    @property
    def x(self) -> Tensor:
        """The data points at the site that is shown."""
        return self.batch[self.site]

    @property
    def vectors(self) -> list[str]:
        """The latent sites whose codes are vectors of reals, `(N, D)`, the top of a hierarchy first."""
        return [name for name, z in self.codes.items() if z.dim() == 2 and z.is_floating_point()]

    @property
    def labels(self) -> list[str]:
        """The name of each data point's label; empty where the data have no labels."""
        y = self.batch.get("y")
        if y is None or y.dim() != 1 or y.is_floating_point():
            return []
        return [self.classes[k] if 0 <= k < len(self.classes) else str(k) for k in y.tolist()]

    def name(self, row: int) -> str:
        """What the report calls the data point at a `row`: its number, and its label."""
        return f"data point {row + 1}" + (f", label {self.labels[row]}" if self.labels else "")

    def chosen(self, count: int) -> list[int]:
        """`count` rows to show, with as many different labels as there are."""
        first = {label: row for row, label in reversed(list(enumerate(self.labels)))}
        rows = sorted(first.values())[:count]
        return rows + [row for row in range(len(self.x)) if row not in rows][: count - len(rows)]

    def conditions(self, rows: list[int]) -> Batch:
        """What the model is given with the data points in `rows`."""
        return {name: tensor[rows] for name, tensor in self.given.items()}

    def decoded(self, rows: list[int], codes: Batch | None = None) -> Tensor:
        """The means of p(x | z), `(M, *event)`.

        Args:
            rows: M data points, whose codes are decoded.
            codes: M codes at some sites, in place of those of the data points. Sites that come later in the model than
                one of these follow it: they are at the mean of their prior given the sites before them.
        """
        codes, follows = codes or {}, False
        values: dict[str, Tensor] = {}
        for name, code in self.codes.items():
            if name in codes:
                values[name], follows = codes[name], True
            else:
                values[name] = self._decoded(rows, values, name) if follows else code[rows]
        return self._decoded(rows, values, self.site)

    def _decoded(self, rows: list[int], values: Batch, site: str) -> Tensor:
        given = self.conditions(rows)
        return _mean_or_draw(lambda mean: decode(self.model, values, given=given, site=site, mean=mean, seed=self.seed))

    def samples(self, rows: list[int]) -> Tensor:
        """The means of p(x | z), z ~ p(z), one under what the model is given with each data point in `rows`."""
        return _mean_or_draw(lambda mean: self._generated(rows, self.site, mean))

    def prior_draws(self, latent: str, count: int) -> Tensor:
        """Draws of a latent site from the model, `(count, D)`; none of an improper prior.

        Args:
            latent: the site.
            count: how many draws.
        """
        try:
            return self._generated([i % len(self.x) for i in range(count)], latent, mean=False).float()
        except PairError:
            return self.codes[latent].new_zeros(0, self.codes[latent].shape[1])

    def _generated(self, rows: list[int], site: str, mean: bool) -> Tensor:
        return generate(self.model, len(rows), given=self.conditions(rows), site=site, mean=mean, seed=self.seed)


def _mean_or_draw(tool: Callable[[bool], T]) -> T:
    """The means that a tool gives, `tool(True)`, or its draws, `tool(False)`, where a distribution has no mean."""
    try:
        return tool(True)
    except PairError:
        return tool(False)
