"""Trackers: callbacks of `fit` that send each epoch to TensorBoard, MLflow, Weights & Biases or trackio."""

from pyrovae.tracking.client import Client
from pyrovae.tracking.track import KINDS, Tracker, tracker

__all__ = ["KINDS", "Client", "Tracker", "tracker"]
