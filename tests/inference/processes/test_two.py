"""Two processes with half of each batch give the numbers of one process with the whole batch."""

import pytest
import torch

PAIRS = ["vae", "iwae", "ladder", "global", "dropout"]
CLOSE = {"rtol": 2e-4, "atol": 2e-5}


@pytest.fixture(scope="module")
def found(two, tmp_path_factory):
    return two[1]("numbers", tmp_path_factory.mktemp("numbers"))


@pytest.fixture(scope="module")
def alone(one):
    return one.trainings(compile=False)


def same(first, second):
    """Whether numbers are equal to float error."""
    if isinstance(first, torch.Tensor):
        return torch.allclose(first.double(), second.double(), equal_nan=True, **CLOSE)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second or first == pytest.approx(second, rel=2e-4, abs=2e-5, nan_ok=True)


@pytest.mark.parametrize("how", ["eager", "compiled"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_training_is_that_of_one_process(found, alone, name, how):
    for process in found:
        if name in process[how]:
            assert same(process[how][name], alone[name])


def test_both_processes_have_the_same_weights_bit_for_bit(found):
    for how in ("eager", "compiled"):
        for name, mine in found[0][how].items():
            theirs = found[1][how][name]["weights"]
            assert all(torch.equal(weight, theirs[key]) for key, weight in mine["weights"].items())


def test_batches_that_two_does_not_divide(found, one):
    expected = one.ragged()
    for process in found:
        assert same(process["ragged"], expected)


def test_evaluations_are_those_of_one_process(found, one, tmp_path):
    expected = one.evaluations(tmp_path, compile=False)
    for process in found:
        for name, value in expected.items():
            assert same(process["evaluations"][name], value), name


@pytest.fixture(scope="module")
def errors(two, tmp_path_factory):
    return two[1]("errors", tmp_path_factory.mktemp("errors"))


WORDS = {
    "MMD": ["PairError", "2 processes", "MMD", "devices=1"],
    "BetaTCVAE": ["PairError", "BetaTCVAE", "whole batch"],
    "free bits": ["PairError", "ELBO", "mean rate"],
    "norm": ["PairError", "BatchNorm1d", "nn.GroupNorm"],
    "unscaled": ["PairError", "data_size"],
    "mean": ["no error"],
    "coupled": ["PairError", "couples the data points"],
    "seed": ["SettingError", "same seed", "got 0 in process 0 and 1 in process 1"],
    "devices": ["SettingError", "devices", "got 3"],
    "strategy": ["SettingError", "strategy", "fsdp"],
    "after": ["no error"],
    "data": ["NonFiniteError"],
    "last": ["no error"],
}


@pytest.mark.parametrize("name", WORDS)
def test_an_error_is_that_of_all_processes(errors, name):
    """They stay connected, and the next training works."""
    for process in errors:
        for word in WORDS[name]:
            assert word in process["refused"][name]


def test_a_signal_to_one_process_stops_all(errors, one):
    for process in errors:
        assert "KeyboardInterrupt: stopped after" in process["stopped"]["message"]
    assert same(errors[0]["stopped"]["whole"], one.numbers("vae", epochs=4))
