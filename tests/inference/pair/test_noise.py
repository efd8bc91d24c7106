"""The noise of a random transform belongs to seed and row: it is the same in every chunk."""

import pytest
import torch

from pyrovae.data import Binarize, Scale
from pyrovae.errors import ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import evaluate
from pyrovae.inference.pair.noise import BLOCK, draws, placed_by_seed
from pyrovae.inference.pair.on_data import on_data
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

SIZE, DIM = BLOCK + 19, 6
CPU = torch.device("cpu")


@pytest.fixture
def data():
    return {"x": torch.randint(256, (SIZE, DIM), dtype=torch.uint8), "row": torch.arange(SIZE)}


@pytest.mark.parametrize("rows", [slice(0, 5), slice(60, 70), slice(70, 200), torch.tensor([82, 3, 64, 3])])
def test_rows_have_the_noise_that_they_have_in_the_whole(data, rows):
    whole = placed_by_seed(data, Binarize(), CPU, slice(None), 3)
    some = placed_by_seed(data, Binarize(), CPU, rows, 3)
    assert torch.equal(some["x"], whole["x"][rows])
    assert torch.equal(some["row"], data["row"][rows])
    assert not torch.equal(placed_by_seed(data, Binarize(), CPU, slice(None), 4)["x"], whole["x"])
    assert set(whole["x"].unique().tolist()) == {0.0, 1.0}


def test_the_noise_has_the_right_mean_and_blocks_differ():
    grey = {"x": torch.full((SIZE, DIM), 102, dtype=torch.uint8)}
    means = [placed_by_seed(grey, Binarize(), CPU, slice(None), seed)["x"].mean().item() for seed in range(50)]
    assert sum(means) / 50 == pytest.approx(0.4, abs=5 * (0.24 / (50 * SIZE * DIM)) ** 0.5)
    first, second = placed_by_seed(grey, Binarize(), CPU, slice(None), 0)["x"].split(BLOCK)
    assert not torch.equal(first[: len(second)], second)


def test_what_draws():
    batch = {"x": torch.full((3, DIM), 100, dtype=torch.uint8)}
    assert draws(lambda: Binarize()(batch), CPU)[1]
    assert not draws(lambda: Scale()(batch), CPU)[1]


def test_other_shapes_for_other_rows(data, says):
    def cut(batch):
        return {"x": batch["x"][:, : 1 + int(batch["row"][0] > 0)] + torch.rand(1)}

    with says(ShapeError, "'x'", "same event shapes"):
        placed_by_seed(data, cut, CPU, slice(None), 0)


def test_the_data_of_an_evaluation_do_not_depend_on_memory(data):
    """With a guide that is the prior and a decoder that ignores z, all that is random in the ELBO is the noise."""
    likelihood = likelihoods.Bernoulli(DIM)
    model = VAE(priors.StandardNormal(2), likelihood, MLP(2, DIM))
    guide = NormalGuide(MLP(DIM, 4))
    for network in (model.decoder, guide.encoder):
        for parameter in network.parameters():
            parameter.data.zero_()
    model.decoder.start_at(torch.randn(DIM))
    found = [
        evaluate(model, guide, {"x": data["x"]}, num_samples=count, transform=Binarize(), memory=memory)
        for count, memory in [(1, 2**28), (4, 2**28), (4, 64 * 128 * 80), (30, 64 * 128 * 500)]
    ]
    for other in found[1:]:
        torch.testing.assert_close(other.per_datum["distortion"], found[0].per_datum["distortion"], rtol=0, atol=1e-5)
    other = evaluate(model, guide, {"x": data["x"]}, num_samples=4, transform=Binarize(), seed=1)
    assert not torch.allclose(other.per_datum["distortion"], found[0].per_datum["distortion"])


def test_a_transform_without_noise_runs_on_whole_chunks(ppca):
    sizes = []

    def noted(batch):
        sizes.append(len(batch["x"]))
        return batch

    with on_data("evaluate", ppca.model, ppca.guide(), ppca.data(300), noted, single=True) as pair:
        sizes.clear()
        assert len(pair.place(slice(10, 290))["x"]) == 280
    assert sizes == [280]
