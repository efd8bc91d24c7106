"""Device."""

import torch

__all__ = ["choose_device"]


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device by name; "auto" takes the best that is there."""
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
