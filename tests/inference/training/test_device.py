"""The device by name, or the best that is there."""

import pytest
import torch

from pyrovae.errors import SettingError
from pyrovae.inference.training.device import choose_device


def test_a_device_by_name():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device(torch.device("meta")) == torch.device("meta")


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu"), (True, False, "cuda")]
)
def test_auto_takes_the_best(cuda, mps, best, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == choose_device() == torch.device(best)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", None, 3.5, "xla"])
def test_a_device_that_is_not_there(device, says):
    with says(SettingError, "device requires one that this machine has", repr(device), "device='auto'"):
        choose_device(device)
