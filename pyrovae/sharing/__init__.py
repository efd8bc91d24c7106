"""Pairs as folders: saved without code, loaded without executing any, and sent to the Hugging Face hub.

pyrovae.save("my-vae", model, guide, transform=transform)
pair = pyrovae.load("my-vae")  # pair.model, pair.guide, pair.transform
"""

from pyrovae.sharing.card import Card
from pyrovae.sharing.folder import Pair, load, push_to_hub, save

__all__ = ["Card", "Pair", "load", "push_to_hub", "save"]
