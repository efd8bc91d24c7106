"""Scoring: which test data the closing table uses, and what it measures on them."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.examples._shared.training import Trained
from pyrovae.inference import Evaluation, InferenceGaps, evaluate, gaps
from pyrovae.inference.evidence.units import in_units
from pyrovae.inference.pair.running import seeded, unchanged

__all__ = ["refine", "score", "scored"]


def scored(trained: Trained, flags: argparse.Namespace) -> Batch:
    """The test data that the closing table uses, the first `--evaluate` of them.

    Args:
        trained: the trained pair.
        flags: the flags of the script.
    """
    return {name: tensor[: flags.evaluate or None] for name, tensor in trained.test.items()}


def score(trained: Trained, flags: argparse.Namespace) -> Evaluation:
    """ELBO, rate, distortion and log-evidence of the scored data, in their own units where they were standardised.

    Args:
        trained: the trained pair.
        flags: the flags of the script.
    """
    batch, transform = _drawn(trained, flags)
    options: dict[str, Any] = {"num_samples": flags.num_samples, "transform": transform, "seed": flags.seed}
    measured = evaluate(trained.model, trained.guide, batch, progress=not flags.quiet, **options)
    return in_units(measured, trained.log_jacobian)


def refine(trained: Trained, flags: argparse.Namespace) -> InferenceGaps | PairError | None:
    """The gaps of the guide on the scored data, the reason why a pair has none, or None without `--refine`.

    Args:
        trained: the trained pair.
        flags: the flags of the script.
    """
    if not flags.refine:
        return None
    batch, transform = _drawn(trained, flags)
    options: dict[str, Any] = {"num_steps": flags.refine, "num_samples": flags.num_samples, "seed": flags.seed}
    try:
        options |= {"compile": bool(flags.compile), "progress": not flags.quiet}
        found = gaps(trained.model, trained.guide, batch, transform=transform, **options)
    except PairError as error:
        return error
    names = ("refined", "log_evidence", "elbo")
    return replace(found, **{name: getattr(found, name).shifted(trained.log_jacobian) for name in names})


def _drawn(trained: Trained, flags: argparse.Namespace) -> tuple[Batch, Callable[[Any], Any]]:
    """The scored data and their transform; with `--refine` a random one is drawn once, so that both guides see it."""
    batch = scored(trained, flags)
    if not flags.refine:
        return batch, trained.transform
    with seeded(flags.seed, trained.device):
        return trained.transform({name: tensor.to(trained.device) for name, tensor in batch.items()}), unchanged
