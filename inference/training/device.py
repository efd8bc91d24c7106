"""The device to compute on."""

import torch

__all__ = ["choose_device"]


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device of that name.

    Args:
        device: `"cuda"`, `"cpu"`, ..., a `torch.device`, or `"auto"` for the first of cuda, mps and cpu that is there.
    """
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
