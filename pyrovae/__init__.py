"""Variational autoencoders as probabilistic programs, on Pyro and PyTorch.

A VAE is a model p(x, z) and a guide q(z | x), both Pyro programs; `pyrovae.models` and `pyrovae.guides` hold
some, and everything in `pyrovae.inference` works on any pair.
"""

from pyrovae.version import __version__

__all__ = ["__version__"]
