"""Draws of the latents and the data from the model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pyro import poutine

from pyrovae.checks import check_count, check_names
from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.draws.collecting import collect
from pyrovae.inference.draws.draws import Draws, Key
from pyrovae.inference.draws.form import Form, selected
from pyrovae.inference.draws.plan import Plan, Values
from pyrovae.inference.draws.source import Source
from pyrovae.inference.pair.contract import ProgramLike, call, filled, takes
from pyrovae.inference.pair.entry import conditioned
from pyrovae.inference.pair.generation import generating, require_no_data, require_size
from pyrovae.inference.pair.labels import LabelInputs, check_labels
from pyrovae.inference.pair.running import MEMORY, device_of, evaluating, placed, seeded, unchanged
from pyrovae.inference.pair.scoring import depth_of
from pyrovae.inference.pair.tracing import sites

__all__ = ["prior", "prior_predictive"]


def prior(
    model: ProgramLike,
    num_samples: int = 1000,
    *,
    given: Batch | None = None,
    sites: Sequence[str] | None = None,
    predictive: bool = False,
    memory: int = MEMORY,
    seed: int = 0,
    out: str | Path | None = None,
) -> Draws:
    """Draw every latent site S times from the model, z_s ~ p(z), or z_s ~ p(z | y) for each of N rows of `given`.

    Args:
        model: the model.
        num_samples: S.
        given: what the model conditions on, such as `y`, N rows; without it there is one data point, N = 1.
        sites: the names of the latent sites to keep, or of plates, for the sites in them; all latent sites by default.
        predictive: whether to draw x ~ p(x | z_s) too.
        memory, seed, out: as in `posterior`.

    Raises:
        PairError: there is no such site; the model does not generate, or observes what is given.
        SettingError: `num_samples` is below 1.
        MissingExtraError, OutputError: `out` cannot be written.
    """
    given, device = conditioned("prior", model, given), device_of(model)
    size = filled("prior", given) if given else 1
    sites = sites if sites is None or isinstance(sites, str) else check_names("sites", sites)
    num_samples = check_count("num_samples", num_samples, write=100)
    with evaluating(model), seeded(seed, device):
        first = placed(given, unchanged, device, slice(2))
        with LabelInputs(model, batch=first) as labels:
            source = _source(model, first, size)
        check_labels(given, labels.classes)
        forms = {**source.latents, **source.observed}
        plan = Plan.of(num_samples, 0, first, forms, source.latents, memory)
        keys = [Key("prior", name) for name in selected(sites, source.latents)]
        keys += [Key("prior_predictive", name) for name in source.observed if predictive]
        return collect(source, source.draw, plan, keys, given, _batches(given, size, plan.rows, device), out=out)


def prior_predictive(
    model: ProgramLike,
    num_samples: int = 1000,
    *,
    given: Batch | None = None,
    sites: Sequence[str] | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    out: str | Path | None = None,
) -> Draws:
    """Draw z_s ~ p(z) and x_s ~ p(x | z_s): `prior(..., predictive=True)`.

    Args:
        model: the model.
        num_samples: S.
        given, sites, memory, seed, out: as in `prior`.

    Raises:
        PairError, MissingExtraError, OutputError: as in `prior`.
    """
    return prior(model, num_samples, given=given, sites=sites, predictive=True, memory=memory, seed=seed, out=out)


@dataclass(frozen=True)
class _Prior(Source):
    """Latents and observed sites, all from one run of the model."""

    kind = "prior"

    def draw(self, batch: Batch, rows: int, num_samples: int, common: Values) -> Values:
        return self.generate(batch, rows, num_samples, common)

    def predict(self, batch: Batch, rows: int, num_samples: int, values: Values) -> Values:
        return {}


def _source(model: ProgramLike, first: Batch, size: int) -> _Prior:
    """The sites of the model, read off one run. Arguments are named after the sites that they observe."""
    if not first:
        require_size("prior", model)
    require_no_data("prior", model, first)
    with generating("prior", min(size, 2)), poutine.trace() as tracer:
        call(model, first, size=min(size, 2), data_size=size)
    drawn, depth = sites(tracer.trace), depth_of(tracer.trace)
    for name, site in drawn.items():
        if site["is_observed"]:
            raise PairError(f"prior requires sites that the model draws, got a value of '{name}'. Drop it from given.")
    forms = {name: Form.of(site, depth) for name, site in drawn.items()}
    observed = {name: form for name, form in forms.items() if name == "x" or takes(model, name)}
    latents = {name: form for name, form in forms.items() if name not in observed}
    return _Prior(model, depth, size, latents, observed)


def _batches(given: Batch, size: int, rows: int, device: torch.device) -> Iterator[tuple[slice, Batch]]:
    for start in range(0, size, rows):
        where = slice(start, min(start + rows, size))
        yield where, placed(given, unchanged, device, where)
