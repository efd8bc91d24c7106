"""Prior."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro import poutine

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.draws.draws import Draws, Key
from pyrovae.inference.draws.form import Form
from pyrovae.inference.draws.plan import Plan, Values
from pyrovae.inference.draws.source import Source, check_counts, collect, selected
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call, takes
from pyrovae.inference.pair.running import batches, device_of, evaluating, seeded
from pyrovae.inference.pair.scoring import depth_of
from pyrovae.inference.pair.tracing import sites as sites_of

__all__ = ["prior", "prior_predictive"]


def prior(
    model: ProgramLike,
    num_samples: int = 1000,
    *,
    given: Batch | None = None,
    sites: Sequence[str] | None = None,
    predictive: bool = False,
    memory: int = 2**28,
    seed: int = 0,
    out: str | Path | None = None,
) -> Draws:
    """S draws of every latent site from the model, z_s ~ p(z), or p(z | y) for each of N rows of what is given.

    Args:
        num_samples: S.
        given: what the model conditions on, such as `y`, N rows; without it there is one datum, N = 1.
        sites, memory, seed, out: as in `posterior`.
        predictive: draw x ~ p(x | z_s) too.

    Raises:
        PairError: no samples; no such site; the model does not generate, or observes what is given.
        MissingExtraError, OutputError: `out` cannot be written.
    """
    given, size = given or {}, batch_size(given) if given else 1
    check_counts("prior", size, num_samples, None)
    device = device_of(model)
    with evaluating(model), seeded(seed, device):
        first = {name: tensor[:2].to(device) for name, tensor in given.items()}
        with poutine.trace() as tracer:
            call(model, first, size=min(size, 2), data_size=size)
        drawn, depth = sites_of(tracer.trace), depth_of(tracer.trace)
        for name, site in drawn.items():
            if site["is_observed"]:
                raise PairError(f"the prior's draws are given '{name}', which the model observes. Drop it from given.")
        forms = {name: Form.of(site, depth) for name, site in drawn.items()}
        # Arguments are named after the sites that they observe.
        observed = {name: form for name, form in forms.items() if name == "x" or takes(model, name)}
        latents = {name: form for name, form in forms.items() if name not in observed}
        source = _Prior(model, depth, size, latents, observed)
        plan = Plan.of(num_samples, 0, first, forms, latents, memory)
        wanted = [Key("prior", name) for name in selected(sites, latents)]
        wanted += [Key("prior_predictive", name) for name in observed if predictive]
        chunks = batches(given, plan.rows, dict, device) if given else [{}]
        return collect(source, source.draw, plan, wanted, given, chunks, out)


def prior_predictive(model: ProgramLike, num_samples: int = 1000, **options: Any) -> Draws:
    """Draws of z_s ~ p(z) and x_s ~ p(x | z_s): `prior(..., predictive=True)`."""
    return prior(model, num_samples, predictive=True, **options)


@dataclass(frozen=True)
class _Prior(Source):
    kind = "prior"

    def draw(self, batch: Batch, rows: int, count: int, common: Values) -> Values:
        return self.generate(batch, rows, count, common)
