"""The device to compute on."""

import torch

from pyrovae.errors import SettingError

__all__ = ["choose_device"]


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device of that name.

    Args:
        device: `"cuda"`, `"cpu"`, ..., a `torch.device`, or `"auto"` for the first of cuda, mps and cpu that is there.

    Raises:
        SettingError: there is no such device, or not on this machine.
    """
    if device != "auto":
        try:
            chosen = torch.device(device)
            torch.empty(0, device=chosen)
        except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
            raise SettingError(
                f"device requires one that this machine has, got {device!r}: {str(error).splitlines()[0]}. Write "
                "device='auto'."
            ) from error
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
