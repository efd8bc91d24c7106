"""A single process is the trivial case; the processes of a launcher fit what is asked."""

import sys

import pytest
import torch

from pyrovae.errors import MissingExtraError, SettingError
from pyrovae.inference import fit
from pyrovae.inference.processes.faults import together
from pyrovae.inference.processes.launch import current, is_main_script, launched
from pyrovae.inference.processes.processes import ALONE
from pyrovae.inference.processes.share import Share

CPU = torch.device("cpu")


def test_a_single_process_exchanges_nothing():
    one = torch.arange(3.0)
    share = ALONE.share(3)
    assert current() is ALONE
    assert ALONE.main
    assert share == Share(0, 3, 3)
    assert ALONE.summed(one) is one
    assert torch.equal(ALONE.summed_together([one, one[:1]], 2.0)[0], 2 * one)
    assert ALONE.gathered(one, share) is one
    assert ALONE.any(True)
    assert ALONE.all_objects("mine") == ["mine"]
    assert ALONE.from_main("mine") == "mine"
    assert ALONE.agreed(lambda: 3) == 3
    with together(ALONE):
        pass


def test_an_error_of_a_single_process_is_raised_as_it_is():
    with pytest.raises(ZeroDivisionError), together(ALONE):
        ALONE.agreed(lambda: 1 / 0)


def test_one_device_starts_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    assert launched(1, 1, "auto", CPU) is ALONE


def test_several_processes_require_the_extra(monkeypatch, says):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with says(MissingExtraError, "2 processes", "pip install 'pyrovae[scale]'"):
        launched(2, 1, "auto", CPU)


@pytest.mark.parametrize(("devices", "nodes", "strategy"), [(0, 1, "auto"), (1, 0, "auto"), (1, 1, "fsdp")])
def test_settings_without_a_meaning(devices, nodes, strategy):
    with pytest.raises(SettingError):
        launched(devices, nodes, strategy, CPU)


def test_the_processes_of_a_launcher_are_those_that_are_asked_for(monkeypatch, says):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with says(SettingError, "requires 4", "3 * 1"):
        launched(3, 1, "auto", CPU)


def test_a_gpu_for_each_process(monkeypatch, says):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with says(SettingError, "2 processes", "as many GPUs, got 1", "devices=1"):
        launched(2, 1, "auto", torch.device("cuda"))
    with says(SettingError, "one GPU", "cuda:0"):
        launched(2, 1, "auto", torch.device("cuda", 0))
    with says(SettingError, "got mps"):
        launched(2, 1, "auto", torch.device("mps"))


def test_a_session_without_a_script_starts_no_process(monkeypatch, says):
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    with says(SettingError, "requires a script", "python FILE"):
        launched(2, 1, "auto", CPU)


def test_fit_says_that_the_machine_has_no_gpu(says, monkeypatch):
    from pyrovae.guides import NormalGuide
    from pyrovae.models import VAE, likelihoods, priors
    from pyrovae.networks.dense import MLP

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    pair = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(3), MLP(2, 3, [])), NormalGuide(MLP(3, 4, []))
    if torch.version.cuda is None or not torch.cuda.device_count():
        with says(SettingError, "device requires"):
            fit(*pair, {"x": torch.ones(4, 3)}, devices=2, device="cuda")


@pytest.mark.parametrize(
    ("variables", "main"),
    [({}, True), ({"RANK": "1"}, False), ({"LOCAL_RANK": "1"}, False), ({"RANK": "0", "LOCAL_RANK": "0"}, True)],
)
def test_which_process_prints(monkeypatch, variables, main):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_main_script() is main
