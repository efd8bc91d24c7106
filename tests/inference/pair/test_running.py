"""Batches, chunks, devices, and the state around a run: what goes in, and that it is restored."""

from contextlib import suppress

import pyro
import pytest
import torch
from torch import nn

from pyrovae.inference.pair.running import (
    batches,
    chunk_sizes,
    device_of,
    evaluating,
    frozen,
    numbers,
    placed,
    portions,
    seeded,
    unchanged,
)

CPU = torch.device("cpu")


def noisy(batch):
    return {name: tensor + torch.rand(tensor.shape) for name, tensor in batch.items()}


# ------------------------------------------------------------------------------------------------ batches


def test_bytes_are_scaled_by_default_and_floats_are_not():
    data = {"x": torch.tensor([[0, 51], [255, 102]], dtype=torch.uint8), "y": torch.tensor([1, 2])}
    batch = placed(data, None, CPU)
    torch.testing.assert_close(batch["x"], torch.tensor([[0.0, 0.2], [1.0, 0.4]]))
    assert torch.equal(batch["y"], data["y"])
    floats = {"x": 255 * torch.rand(3, 2)}
    assert torch.equal(placed(floats, None, CPU)["x"], floats["x"])
    assert placed(data, unchanged, CPU)["x"].dtype == torch.uint8


@pytest.mark.parametrize("rows", [slice(1, 3), torch.tensor([1, 2])])
def test_rows_are_a_slice_or_numbers(rows):
    data = {"x": torch.rand(5, 2), "y": torch.arange(5)}
    batch = placed(data, unchanged, CPU, rows)
    assert torch.equal(batch["x"], data["x"][1:3])
    assert batch["y"].tolist() == [1, 2]


def test_the_transform_gets_the_rows_alone():
    sizes = []

    def transform(batch):
        sizes.append(len(batch["x"]))
        return batch

    data = {"x": torch.arange(7)}
    parts = list(batches(data, 3, transform, CPU))
    assert sizes == [3, 3, 1]
    assert torch.equal(torch.cat([part["x"] for part in parts]), data["x"])


def test_the_same_seed_gives_the_same_random_transform():
    data = {"x": torch.rand(5, 2)}

    def draw(seed):
        with seeded(seed, CPU):
            return placed(data, noisy, CPU)["x"]

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_numbers_are_those_of_one_data_point():
    assert numbers({"x": torch.zeros(4, 2, 3), "y": torch.zeros(4)}) == 7


# ------------------------------------------------------------------------------------------------- chunks


@pytest.mark.parametrize("size", [1, 200])
@pytest.mark.parametrize("num_samples", [1, 7, 5000])
@pytest.mark.parametrize("memory", [1, 2**16, 2**24])
def test_a_chunk_fits_into_memory(size, num_samples, memory):
    rows, draws = chunk_sizes({"x": torch.zeros(3, size)}, num_samples, memory)
    assert rows >= 1
    assert 1 <= draws <= num_samples
    assert rows * draws == 1 or rows * draws * 64 * size <= memory
    assert draws == num_samples or rows == 1  # draws are split last


@pytest.mark.parametrize(("num_samples", "draws"), [(10, 3), (9, 3), (2, 5), (0, 3)])
def test_portions_add_up(num_samples, draws):
    parts = portions(num_samples, draws)
    assert sum(parts) == num_samples
    assert all(0 < part <= draws for part in parts)
    assert all(part == draws for part in parts[:-1])


# ------------------------------------------------------------------------------------------ device, state


def test_the_device_is_that_of_the_first_parameter_or_buffer():
    norm = nn.BatchNorm1d(2, affine=False, device="meta")
    assert device_of(lambda: None) == CPU
    assert device_of(nn.Identity(), nn.Linear(2, 2)) == CPU
    assert device_of(lambda: None, nn.Linear(2, 2, device="meta")).type == "meta"
    assert device_of(norm, nn.Linear(2, 2)).type == "meta"
    assert device_of(norm.forward).type == "meta"


def test_a_seed_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    with seeded(3, CPU):
        one = torch.rand(4)
    assert torch.equal(torch.get_rng_state(), before)
    with suppress(KeyError), seeded(3, CPU):
        assert torch.equal(torch.rand(4), one)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("fails", [False, True])
def test_evaluation_restores_each_mode(fails):
    program = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    program[0].eval()
    before = [module.training for module in program.modules()]
    assert before == [True, False, True]
    validation = torch.distributions.Distribution._validate_args
    try:
        with evaluating(program):
            assert not any(module.training for module in program.modules())
            assert not torch.is_grad_enabled()
            assert pyro.settings.get("module_local_params") is True
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert [module.training for module in program.modules()] == before
    assert torch.is_grad_enabled()
    assert pyro.settings.get("module_local_params") is False
    assert torch.distributions.Distribution._validate_args is validation


@pytest.mark.parametrize("fails", [False, True])
def test_frozen_weights_get_no_gradient_inside(fails):
    program = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    before = [p.requires_grad for p in program.parameters()]
    try:
        with frozen(program, lambda: None):
            assert not any(p.requires_grad for p in program.parameters())
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert [p.requires_grad for p in program.parameters()] == before
