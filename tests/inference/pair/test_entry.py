"""The entry of data: arrays and bare tensors are taken, anything else gets the line to write, in every tool alike."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from pyrovae import data as pyrovae_data
from pyrovae.data import Binarize, Dataset
from pyrovae.data.named import named_tensors
from pyrovae.errors import DataError, PairError, SettingError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import (
    Annealing,
    aggregate_posterior,
    annealed,
    anomaly_scores,
    augment,
    check_pair,
    compare_evidence,
    dimension_rates,
    encode,
    entry_scores,
    evaluate,
    features,
    fit,
    gaps,
    latent_map,
    log_evidence,
    posterior,
    rate_distortion,
    reconstruct,
    traverse,
)
from pyrovae.inference.pair.entry import conditioned, entered
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

DIM, LATENT = 3, 2
TOOLS = {
    "fit": lambda m, g, d: fit(m, g, d, epochs=1, progress=False, device="cpu"),
    "check_pair": lambda m, g, d: check_pair(m, g, d) or 0.0,
    "evaluate": lambda m, g, d: evaluate(m, g, d, num_samples=2).elbo.value,
    "log_evidence": lambda m, g, d: log_evidence(m, g, d, num_samples=2).value,
    "posterior": lambda m, g, d: posterior(m, g, d, 2).latents["z"],
    "encode": lambda m, g, d: encode(m, g, d)["z"],
    "reconstruct": reconstruct,
    "anomaly_scores": lambda m, g, d: anomaly_scores(m, g, d, num_samples=2),
    "errors": lambda m, g, d: anomaly_scores(m, g, d, kind="error"),
    "entry_scores": lambda m, g, d: entry_scores(m, g, d, num_samples=2),
    "augment": lambda m, g, d: augment(m, g, d, 2)["x"],
    "features": features,
    "dimension_rates": lambda m, g, d: dimension_rates(m, g, d)["z"],
    "latent_map": lambda m, g, d: latent_map(m, g, d).mean,
    "traverse": lambda m, g, d: traverse(m, g, d, num_steps=3).x,
    "rate_distortion": lambda m, g, d: rate_distortion(m, g, d, num_samples=2).mse,
    "aggregate_posterior": lambda m, g, d: aggregate_posterior(m, g, d).mutual_information.value,
    "annealed": lambda m, g, d: annealed(m, g, d, Annealing(2, 2, 2)).log_evidence.value,
    "gaps": lambda m, g, d: gaps(m, g, d, num_steps=10, num_samples=2).elbo.value,
    "compare_evidence": lambda m, g, d: compare_evidence(
        m, g, d, Annealing(2, 2, 2), num_samples=2, num_simulations=0
    ).per_datum["elbo"],
}


@pytest.fixture
def pair():
    torch.manual_seed(0)
    likelihood = likelihoods.Normal(DIM)
    model = VAE(priors.StandardNormal(LATENT), likelihood, MLP(LATENT, likelihood.params_shape, (4,)))
    return model, NormalGuide(MLP(DIM, 2 * LATENT, (4,)))


class Bare(torch.nn.Module):
    """A guide whose network checks no shapes."""

    def __init__(self):
        super().__init__()
        self.loc = torch.nn.Linear(DIM, LATENT)

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(self.loc(x), 1.0).to_event(1))


class Pairs(TorchDataset):
    """A data set of torch whose items are (x, y)."""

    def __len__(self):
        return 8

    def __getitem__(self, place):
        return torch.full((DIM,), float(place)), place


X = torch.randn(8, DIM, generator=torch.Generator().manual_seed(0))
DATASET = Dataset({"x": X}, {"x": X}, {"x": X}, "some", "drawn")
REFUSED = {
    "a list": ([X[0], X[1]], ["a list", '{"x": torch.stack(x)}']),
    "a pair": ((X, X), ["a tuple", '{"x": x, "y": y}']),
    "a loader": (DataLoader(TensorDataset(X), 4), ["a DataLoader", '{"x": loader.dataset.tensors[0]}', "own batches"]),
    "a loader of pairs": (
        DataLoader(Pairs(), 4),
        ["a DataLoader", "torch.stack([item[0] for item in loader.dataset])"],
    ),
    "a torch data set": (TensorDataset(X), ["a TensorDataset", '{"x": dataset.tensors[0]}']),
    "text": ("x.npy", ["a str", '{"x": x}']),
    "nothing": (None, ["None", '{"x": x}']),
    "a number as name": ({0: X}, ["the name 0", '{"x": x}']),
    "a list inside": ({"x": X.tolist()}, ['at "x"', "a list", '{"x": torch.as_tensor(x)}']),
    "objects": ({"x": np.array([["a"] * DIM] * 8, dtype=object)}, ["an array of object", 'astype("float32")']),
    "strings": ({"x": np.array([["a"] * DIM] * 8)}, ["an array of <U1"]),
    "sparse": ({"x": X.to_sparse()}, ["a dense tensor", "sparse_coo", "x.to_dense()"]),
    "complex": ({"x": X.to(torch.complex64)}, ["real numbers", "complex64", "view_as_real"]),
    "complex array": ({"x": X.numpy().astype("complex64")}, ["numbers", "complex64"]),
    "no values": ({"x": X.to("meta")}, ["values", "meta"]),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_refuses_what_is_no_named_tensors_alike(pair, tool, says):
    for data, words in REFUSED.values():
        with says(DataError, *words):
            TOOLS[tool](*pair, data)


@pytest.fixture
def frame():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(X.numpy(), columns=["a", "b", "c"])


def check_equal_results(pair, tool, forms):
    """A tool gives the same numbers for each form of the data, from the same weights."""
    start = [{name: value.clone() for name, value in program.state_dict().items()} for program in pair]
    results = []
    for data in forms:
        for program, state in zip(pair, start, strict=True):
            program.load_state_dict(state)
        result = TOOLS[tool](*pair, data)
        results.append(torch.as_tensor(result["loss"] if tool == "fit" else result))
    assert all(torch.equal(result, results[0]) for result in results[1:])


@pytest.mark.parametrize("tool", TOOLS)
def test_a_frame_of_numbers_is_x(pair, tool, frame):
    check_equal_results(
        pair, tool, (X, frame, frame.astype(float), frame.astype("Float32"), {"x": frame, "y": frame["a"]})
    )


@pytest.mark.parametrize("tool", TOOLS)
def test_a_frame_with_gaps_or_text_names_the_column_and_the_line(pair, tool, frame, says):
    imputed, encoded = "VAEImputer().fit_transform(frame)", "pyrovae.data.Table.of(frame).encode(frame)"
    refused = [
        (frame.assign(b=frame["b"].where(frame["b"] > 0)), ["missing cells in column 'b'", imputed, encoded]),
        (frame.assign(b=["u", "v"] * 4), ["the column 'b' of", "VAEImputer", encoded]),
        (frame.assign(b=frame["b"].astype("datetime64[ns]")), ["the column 'b' of datetime64", encoded]),
        (frame[[]], ["requires a data frame with columns"]),
        (frame.set_axis(["a", "a", "c"], axis=1), ["two columns 'a'"]),
        ({"x": frame.assign(b=None)}, ["column 'b'"]),
        ({"x": X, "y": frame["a"].where(frame["a"] > 0)}, ['at "y"', "missing cells", "y.dropna()"]),
        ({"x": X, "y": frame["a"].astype(str)}, ['at "y"', "y.factorize()[0]"]),
    ]
    for data, words in refused:
        with says(DataError, *words):
            TOOLS[tool](*pair, data)


def test_validation_data_may_be_a_frame(pair, frame):
    history = fit(*pair, frame, valid=frame.head(4), epochs=1, progress=False, device="cpu")
    assert history["elbo"][-1] < 0


def test_columns_of_a_frame_keep_their_types(frame):
    pandas = pytest.importorskip("pandas")
    columns = {"y": frame["a"].gt(0), "n": pandas.Series([1, 2], dtype="Int64"), "f": frame["a"].astype("Float64")}
    kinds = [tensor.dtype for tensor in named_tensors("some", columns).values()]
    assert kinds == [torch.bool, torch.int64, torch.float32]
    assert named_tensors("some", frame.gt(0))["x"].dtype == torch.float32
    assert named_tensors("some", frame, torch.float64)["x"].dtype == torch.float64


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool != "fit"])
def test_a_whole_dataset_is_for_fit_alone(pair, tool, says):
    with says(DataError, "a Dataset", "data.test"):
        TOOLS[tool](*pair, DATASET)


@pytest.mark.parametrize("tool", TOOLS)
def test_arrays_and_a_tensor_by_itself_are_x(pair, tool):
    check_equal_results(pair, tool, ({"x": X}, X, X.numpy(), {"x": X.numpy()}, {"x": X.double().numpy()}))


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("x", "words"),
    [
        (X.double(), ["float32", "x of float64", '{"x": x.to(torch.float32)}']),
        (X.half(), ["float32", "x of float16", '{"x": x.to(torch.float32)}']),
        (X.long(), ["float32", "x of int64", '{"x": x.to(torch.float32)}']),
        (X > 0, ["float32", "x of bool", '{"x": x.to(torch.float32)}']),
    ],
)
def test_numbers_of_another_type_than_the_parameters(pair, tool, x, words, says):
    with says(DataError, *words):
        TOOLS[tool](*pair, {"x": x})


@pytest.mark.parametrize("tool", TOOLS)
def test_lengths_and_emptiness(pair, tool, says):
    with says(ShapeError, "share the leading dimension", "'y': 7"):
        TOOLS[tool](*pair, {"x": X, "y": torch.zeros(7)})
    with says(ShapeError, "share the leading dimension", "None"):
        TOOLS[tool](*pair, {"x": torch.tensor(1.0)})
    with pytest.raises(PairError, match=r"requires (training data|data points), got"):
        TOOLS[tool](*pair, {"x": X[:0]})


@pytest.mark.parametrize("tool", TOOLS)
def test_data_of_other_shapes_than_the_networks(pair, tool, says):
    for x in (X[:, :2], X.expand(2, 8, 3), X[:, 0]):
        with pytest.raises(ShapeError, match=r"requires|fails on a batch of x"):
            TOOLS[tool](*pair, {"x": x})
    model, _ = pair
    torch.manual_seed(0)
    with says(ShapeError, "fails on a batch of x (", "mat1 and mat2", "Check the shapes"):
        TOOLS[tool](model, Bare(), {"x": X[:, :2]})


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_no_program(pair, tool, says):
    model, guide = pair
    for programs in ((None, guide), (model, "guide"), (model, len), (int, guide)):
        with says(PairError, "requires a", "model, guide, data"):
            TOOLS[tool](*programs, {"x": X})


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool not in ("check_pair", "features", "log_evidence")])
def test_a_transform_is_a_function(pair, tool, says):
    def run(transform):
        options = {"transform": transform}
        if tool == "fit":
            return fit(*pair, {"x": X}, epochs=1, progress=False, device="cpu", **options)
        return globals()["anomaly_scores" if tool == "errors" else tool](*pair, {"x": X}, **options)

    wrong = {
        "a str": "threshold",
        "the class Scale": pyrovae_data.Scale,  # without parentheses
        "class 'int'": int,
        "a function": lambda: None,
        "one that returns a Tensor": lambda batch: batch["x"],
        "one that returns None": lambda batch: None,
        "one that returns an int": len,
    }
    for got, transform in wrong.items():
        with says(SettingError, "transform requires a function from batch to batch", got):
            run(transform)


def test_types_of_arrays():
    arrays = {
        "bytes": np.zeros((2, 3), np.uint8),
        "booleans": np.zeros(2, bool),
        "small": np.zeros(2, np.int8),
        "large": np.full(2, 2**63 - 1, np.uint64),
        "halves": np.full((2, 3), 0.1, np.float16),
        "doubles": np.full((2, 3), 0.1, ">f8"),
        "long": np.full((2, 3), 0.1, np.longdouble),
        "strided": np.arange(12.0)[::-6],
    }
    named = named_tensors("some", arrays)
    kinds = (torch.uint8, torch.bool, torch.int64, torch.int64, *[torch.float32] * 4)
    assert [tensor.dtype for tensor in named.values()] == [*kinds]
    assert named["large"].tolist() == [2**63 - 1] * 2
    assert named["strided"].tolist() == [11.0, 5.0]
    assert torch.equal(named["doubles"], torch.full((2, 3), 0.1))
    assert torch.equal(
        named_tensors("some", arrays, torch.float64)["doubles"], torch.full((2, 3), 0.1).double() * 0 + 0.1
    )
    with pytest.raises(DataError, match=r"integers below 2\*\*63"):
        named_tensors("some", {"y": np.array([2**63], np.uint64)})


def test_a_tensor_is_never_copied_and_an_array_never_shared():
    assert named_tensors("some", {"x": X})["x"] is X
    array = np.zeros((2, 3), np.uint8)
    named_tensors("some", array)["x"] += 1
    assert not array.any()


def test_conditions_are_named_tensors_too(pair):
    model, _ = pair
    assert conditioned("decode", model, None) == conditioned("decode", model, {}) == {}
    assert conditioned("decode", model, {"y": np.zeros(3)})["y"].dtype == torch.float32
    with pytest.raises(DataError, match="decode requires named tensors, got a list"):
        conditioned("decode", model, [1])


class Halved:
    """A transform of two phases; the second alone gives nonsense."""

    def prepare(self, batch):
        return batch if "halved" in batch else {"x": batch["x"] / 2, "halved": torch.ones(len(batch["x"]))}

    def __call__(self, batch):
        return {"x": batch["x"] if "halved" in batch else batch["x"] * math.nan}


def test_every_tool_runs_both_phases_of_a_transform(pair):
    """What a tool gives for raw data under a transform is what it gives for data that are transformed already."""
    for name in TOOLS:
        if name in ("check_pair", "fit", "features", "log_evidence", "errors"):
            continue
        function = globals()[name]
        options = {
            "traverse": {"num_steps": 3},
            "annealed": {"annealing": Annealing(2, 2, 2)},
            "compare_evidence": {"annealing": Annealing(2, 2, 2), "num_simulations": 0},
            "gaps": {"num_steps": 10, "num_samples": 2},
        }.get(name, {})
        results = [
            function(*pair, {"x": x}, transform=transform, **options) for x, transform in ((X, Halved()), (X / 2, None))
        ]
        one, two = (first_number(result) for result in results)
        assert torch.isfinite(one).all(), name
        assert torch.equal(one, two), name


def first_number(result):
    """Some tensor of a result."""
    for field in ("per_datum", "latents"):
        result = getattr(result, field, result)
    if isinstance(result, dict):
        result = next(iter(result.values()))
    for field in ("mean", "x", "mse", "mutual_information"):
        result = getattr(result, field) if not isinstance(result, torch.Tensor) and hasattr(result, field) else result
    return torch.as_tensor(getattr(result, "value", result) if not isinstance(result, torch.Tensor) else result)


@pytest.mark.parametrize("mode", ["static", "threshold"])
def test_raw_grey_levels_and_prepared_ones_give_one_number(mode):
    """Without the first phase, a threshold of 0..255 was scored as numbers up to 255 under a Bernoulli."""
    torch.manual_seed(0)
    likelihood = likelihoods.Bernoulli((1, 4, 4))
    model = VAE(priors.StandardNormal(2), likelihood, MLP(2, likelihood.params_shape, (4,)))
    guide = NormalGuide(MLP((1, 4, 4), 4, (4,)))
    grey, transform = {"x": torch.randint(256, (20, 1, 4, 4), dtype=torch.uint8)}, Binarize(mode)
    ready = transform(transform.prepare(grey))
    options = {"num_samples": 5}
    expected = evaluate(model, guide, ready, **options).elbo.value
    assert -40 < expected < 0
    for data in (grey, transform.prepare(grey)):
        assert evaluate(model, guide, data, transform=transform, **options).elbo.value == expected
        assert torch.equal(encode(model, guide, data, transform=transform)["z"], encode(model, guide, ready)["z"])
        scores = anomaly_scores(model, guide, data, transform=transform, **options)
        assert scores.mean().item() == pytest.approx(-expected)
    history = fit(model, guide, grey, transform=transform, epochs=1, progress=False, device="cpu")
    assert 0 < history["loss"][-1] < 40


def test_entered_prepares_by_the_default_transform(says):
    assert pyrovae_data.Scale().prepare({"x": X})["x"] is X
    assert entered("some", X, None)["x"] is X
    with pytest.raises(pyrovae_data.transforms.SupportError, match="binary already"):
        entered("some", torch.tensor([[0, 1]], dtype=torch.uint8), None)
