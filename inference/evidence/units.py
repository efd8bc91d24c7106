"""Estimates of standardised data in the units of the data."""

from dataclasses import replace

from pyrovae.inference.evidence.estimates import Evaluation

__all__ = ["in_units"]


def in_units(measured: Evaluation, log_jacobian: float) -> Evaluation:
    """An evaluation of standardised data as one of the data in their own units; the rate is the same in both.

    Args:
        measured: an evaluation of the standardised data.
        log_jacobian: what a log-density gains in the units of the data.
    """
    gains = {"elbo": log_jacobian, "log_evidence": log_jacobian, "distortion": -log_jacobian}
    shifted = {name: getattr(measured, name).shifted(gain) for name, gain in gains.items()}
    per_datum = {name: tensor + gains.get(name, 0.0) for name, tensor in measured.per_datum.items()}
    return replace(measured, per_datum=per_datum, **shifted)
