"""Pairs as folders: saved without code, loaded without executing any, and sent to the Hugging Face hub.

pyrovae.save("my-vae", model, guide, transform=transform)
pair = pyrovae.load("my-vae")  # pair.model, pair.guide, pair.transform
"""

from pyrovae.sharing.card import Card
from pyrovae.sharing.folder import Pair, load, push_to_hub, save
from pyrovae.sharing.runs import Run, load_run

__all__ = ["Card", "Pair", "Run", "load", "load_run", "push_to_hub", "save"]
