"""Training data: the order of each epoch, and the size that programs are told."""

from functools import partial

import numpy as np
import pytest
import torch

from pyrovae.data import Binarize, Scale
from pyrovae.errors import DataError, PairError, SettingError
from pyrovae.guides import NormalGuide
from pyrovae.inference import fit
from pyrovae.inference.training.training_data import TrainingData, WithDataSize
from pyrovae.networks.dense import MLP


def test_a_program_that_knows_the_size_of_the_data_is_scaled_by_it(pair_of_all_data, split, quick):
    history = quick(*pair_of_all_data(), split(), epochs=6, optim=partial(torch.optim.Adam, lr=1e-2))
    assert history["loss"][-1] < history["loss"][0]
    assert history["loss"][-1] == pytest.approx(-history["elbo"][-1], rel=0.5)  # nats per data point, both


def test_batches_may_be_chosen_in_any_sizes(ppca):
    """Each epoch draws its own; the loss of the epoch is the mean over the data."""
    seen = []

    def batches(generator):
        rows = torch.randperm(10, generator=generator)
        seen.append(rows)
        return [rows[:3], rows[3:5], rows[5:8], rows[8:]]

    def trained(epochs):
        torch.manual_seed(0)
        guide = NormalGuide(MLP(5, 4, []))
        guide.double()
        options = {"batches": batches, "compile": False, "progress": False}
        return fit(ppca.model, guide, ppca.data(10), epochs=epochs, optim=(torch.optim.SGD, {"lr": 0.0}), **options)

    history = trained(3)
    assert [row["step"] for row in history.rows] == [4, 8, 12]
    assert len({tuple(rows.tolist()) for rows in seen}) == 3
    assert history["loss"] == trained(3)["loss"]


def placed(data, *, transform=None, **options):
    options = {"batch_size": 4, "batches": None, "seed": 0, "device": torch.device("cpu")} | options
    return TrainingData(lambda x: x, lambda x: x, data, options.pop("valid", None), transform or Scale(), **options)


def test_the_order_is_a_function_of_seed_and_epoch():
    data = {"x": torch.zeros(10, 2)}
    first, again, other = placed(data), placed(data), placed(data, seed=1)
    assert [len(rows) for rows in first.order(0)] == [4, 4, 2]
    for epoch in (0, 3):
        assert torch.equal(torch.cat(first.order(epoch)), torch.cat(again.order(epoch)))
        assert torch.cat(first.order(epoch)).sort().values.tolist() == list(range(10))
        assert not torch.equal(torch.cat(first.order(epoch)), torch.cat(other.order(epoch)))
    assert not torch.equal(torch.cat(first.order(0)), torch.cat(first.order(1)))
    assert torch.equal(torch.cat(first.first_epoch), torch.cat(first.order(0)))


def test_the_splits_are_prepared_once_and_batches_transformed():
    grey = {"x": torch.randint(0, 256, (6, 1, 2, 2), dtype=torch.uint8)}
    static = Binarize("static")
    data = placed(grey, transform=static, valid=grey)
    expected = static.prepare(grey)
    assert torch.equal(data.train["x"], expected["x"])
    assert torch.equal(data.valid["x"], expected["x"])
    rows = torch.tensor([4, 1])
    assert torch.equal(data.batch(rows)["x"], static({"x": expected["x"][rows]})["x"])


def test_splits_of_a_dataset_and_of_tensors(split):
    data = placed(split())
    assert (data.size, len(data.valid["x"])) == (200, 50)
    assert not data.scaled
    assert data.step_transform is data.transform
    assert placed({"x": torch.zeros(3, 1)}).valid == {}
    assert placed({"x": torch.zeros(3, 1)}, valid={"x": torch.zeros(0, 1)}).valid == {}


def test_data_size_is_added_for_programs_that_name_it():
    def model(x, data_size): ...

    data = TrainingData(
        model, lambda x: x, {"x": torch.ones(7)}, None, Scale(), batch_size=2, batches=None, seed=0, device="cpu"
    )
    assert data.scaled
    assert data.step_transform == WithDataSize(data.transform, 7)
    assert data.step_transform({"x": torch.ones(2)})["data_size"] == 7


@pytest.mark.parametrize("data", [{}, {"x": torch.zeros(0, 2)}])
def test_no_data(data, says):
    with says(PairError, "requires training data, got none", '{"x": x}'):
        placed(data)


def test_a_function_of_another_signature_draws_no_rows(says):
    with says(SettingError, "function of a torch.Generator", "batches=None"):
        placed({"x": torch.zeros(3, 2)}, batches=len)


@pytest.mark.parametrize("batches", [64, "random", [torch.arange(3)]])
def test_what_draws_no_rows(batches, says):
    with says(SettingError, "batches requires a function that draws the rows", "batches=None"):
        placed({"x": torch.zeros(3, 2)}, batches=batches)


def test_validation_data_may_be_empty():
    for valid in ({}, {"x": torch.zeros(0, 2)}):
        assert placed({"x": torch.zeros(3, 2)}, valid=valid).valid == {}


def test_arrays_get_the_type_of_the_parameters():
    x = np.zeros((3, 2))
    assert placed(x).train["x"].dtype == torch.float32
    assert placed({"x": x}, valid=x).valid["x"].dtype == torch.float32
    double = NormalGuide(MLP(2, 4, ())).double()
    options = {"batch_size": 4, "batches": None, "seed": 0, "device": torch.device("cpu")}
    assert TrainingData(double, double, x, None, Scale(), **options).train["x"].dtype == torch.float64


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([torch.tensor([0, -1])], ["from 0 to 2", "got -1"]),
        ([torch.tensor([0, 1]), torch.tensor([2, 3])], ["from 0 to 2", "got 3"]),
        ([torch.tensor([0.0, 1.0])], ["int64 (B,)", "float32", "rows.long()"]),
        ([torch.tensor([[0, 1]])], ["int64 (B,)", "(1, 2)"]),
        ([torch.tensor([], dtype=torch.int64)], ["int64 (B,)", "(0,)"]),
        ([[0, 1]], ["int64 (B,)", "list"]),
        ([], ["at least one step"]),
    ],
)
def test_rows_that_are_not_in_the_data(steps, words, says):
    """A negative row would be taken from the end of the data, in silence."""
    with says(DataError, "batches requires", *words):
        placed({"x": torch.zeros(3, 2)}, batches=lambda _: steps)


@pytest.mark.parametrize("seed", [-1, 2**32, 1_764_366_114_000_000_000, 0.5, None])
def test_a_seed_without_a_meaning(seed, says):
    with says(SettingError, "seed requires a whole number from 0 to 2**32 - 1"):
        placed({"x": torch.zeros(3, 2)}, seed=seed)
