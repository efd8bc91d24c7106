"""What a report is about: a pair, the data it shows, and their codes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference import decode, encode, generate
from pyrovae.inference.pair.contract import ProgramLike, batch_size, takes
from pyrovae.inference.pair.on_data import is_point
from pyrovae.inference.pair.running import batches, device_of, evaluating, seeded
from pyrovae.inference.pair.tracing import trace_pair
from pyrovae.report.album import Camera

__all__ = ["Subject"]

POINTS = 400


@dataclass(frozen=True)
class Subject:
    """A pair, and the data that its report shows.

    Attributes:
        model, guide: the pair.
        batch: the data as the pair sees them, transformed.
        site: the observed site that is shown.
        given: what the model conditions on.
        codes: the code of each datum, at each latent site in the model's order.
        density: whether the guide has one: a point mass has not, so there is no evidence and nothing to draw.
        camera: how data are shown.
        classes: the names that labels count through.
        seed: of all draws.
    """

    model: ProgramLike
    guide: ProgramLike
    batch: Batch
    site: str
    given: Batch
    codes: dict[str, Tensor]
    density: bool
    camera: Camera
    classes: tuple[str, ...]
    seed: int

    @classmethod
    def of(
        cls, model: ProgramLike, guide: ProgramLike, data: Batch, transform: Any, classes: Any, seed: int
    ) -> "Subject":
        """Look at the first `POINTS` data."""
        device = device_of(model, guide)
        with evaluating(model, guide), seeded(seed, device):
            batch = next(batches(data, POINTS, transform, device))
            pair = trace_pair(model, guide, batch, data_size=batch_size(data))
        observed = list(pair.observed())
        site = "x" if "x" in observed else observed[0]
        drawn = mean_or_draw(encode, model, guide, batch, seed=seed)
        count = batch_size(batch)
        codes = {n: drawn[n] for n in pair.latent() if n in drawn and drawn[n].dim() and len(drawn[n]) == count}
        given = {n: t for n, t in batch.items() if takes(model, n) and n not in (*observed, *drawn)}
        density = not any(is_point(inner) for inner, _ in pair.latent().values())
        names, camera = tuple(map(str, classes)), Camera.of(batch[site])
        return cls(model, guide, batch, site, given, codes, density, camera, names, seed)

    @property
    def x(self) -> Tensor:
        """The data at the site that is shown."""
        return self.batch[self.site]

    @property
    def flat(self) -> list[str]:
        """The sites whose codes are vectors of reals, `(N, D)`, the top of a hierarchy first."""
        return [name for name, z in self.codes.items() if z.dim() == 2 and z.is_floating_point()]

    @property
    def labels(self) -> list[str]:
        """The name of each datum's label; none where data have no labels."""
        y = self.batch.get("y")
        if y is None or y.dim() != 1 or y.is_floating_point():
            return []
        return [self.classes[k] if 0 <= k < len(self.classes) else str(k) for k in y.tolist()]

    def name(self, row: int) -> str:
        """What a datum is called: its number, and its label."""
        return f"datum {row + 1}" + (f", label {self.labels[row]}" if self.labels else "")

    def chosen(self, count: int) -> list[int]:
        """Rows to show, with as many different labels as there are."""
        first = {label: row for row, label in reversed(list(enumerate(self.labels)))}
        rows = sorted(first.values())[:count]
        return rows + [row for row in range(len(self.x)) if row not in rows][: count - len(rows)]

    def conditions(self, rows: list[int]) -> Batch:
        """What the model conditions on, of those data."""
        return {name: tensor[rows] for name, tensor in self.given.items()}

    def decoded(self, rows: list[int], **latents: Tensor) -> Tensor:
        """p(x | z)'s means, `(M, *event)`, for M codes at some sites.

        Other sites stay as the data in `rows`, M of them, have them; but those that come later in the model follow, by
        the mean of their prior given the sites before them.
        """
        later = False
        values: dict[str, Tensor] = {}
        given = self.conditions(rows)
        for name, code in self.codes.items():
            if name in latents or not later:
                values[name] = latents.get(name, code[rows])
            else:
                values[name] = self.mean(decode, values, given=given, site=name)
            later = later or name in latents
        return self.mean(decode, values, given=given, site=self.site)

    def generated(self, rows: list[int], site: str, **options: Any) -> Tensor:
        """Values of a site, z ~ p(z), one under each condition of the data in `rows`."""
        return self.mean(generate, len(rows), given=self.conditions(rows), site=site, **options)

    def mean(self, tool: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return mean_or_draw(tool, self.model, *arguments, seed=self.seed, **options)


def mean_or_draw(tool: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What the tool gives by means, or by draws where a distribution has no mean."""
    try:
        return tool(*arguments, **options)
    except PairError:
        return tool(*arguments, **options | {"mean": False})
