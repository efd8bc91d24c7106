"""`datasets.Dataset` goes through training and evaluation as it is."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pyrovae.data import Table
from pyrovae.data.named import batch_of
from pyrovae.data.source import take
from pyrovae.errors import CellError, DataError, ShapeError
from pyrovae.guides import NormalGuide, ZeroFilled
from pyrovae.inference import encode, evaluate, fit, impute, log_evidence
from pyrovae.models import VAE, Masked, likelihoods, priors
from pyrovae.networks.dense import MLP

datasets = pytest.importorskip("datasets")
pd = pytest.importorskip("pandas")


@pytest.fixture
def numbers():
    """A table of numbers in memory."""
    table = np.random.default_rng(0).normal(size=(60, 3))
    return datasets.Dataset.from_dict({name: table[:, place] for place, name in enumerate("abc")}), table


@pytest.fixture
def images():
    """Grey images, stored as PNG, and labels with names."""
    drawn = np.random.default_rng(0).integers(0, 256, size=(60, 4, 5), dtype=np.uint8)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    columns = {"image": [Image.fromarray(image) for image in drawn], "label": [row % 2 for row in range(60)]}
    return datasets.Dataset.from_dict(columns, features), drawn


def pair(likelihood, width):
    torch.manual_seed(0)
    model = VAE(priors.StandardNormal(2), likelihood, MLP(2, likelihood.params_shape, (8,)))
    return model, NormalGuide(MLP(width, 4, (8,)))


def both(first, second, *programs):
    """The numbers of both forms of the data after a training on each."""
    found = []
    for kind in (first, second):
        model, guide = programs[0]()
        history = fit(model, guide, kind, epochs=2, batch_size=16, valid=kind, progress=False, compile=False)
        evaluation = evaluate(model, guide, kind, num_samples=5)
        found.append((history.rows[-1], evaluation.per_datum["elbo"], encode(model, guide, kind)["z"]))
        log_evidence(model, guide, kind, num_samples=3)
    return found


def test_a_table_of_numbers(numbers):
    dataset, table = numbers
    first, second = both(dataset, {"x": table}, lambda: pair(likelihoods.Normal(3), 3))
    assert first[0] == second[0]
    assert torch.equal(first[1], second[1])
    assert torch.equal(first[2], second[2])


def test_images(images):
    dataset, drawn = images
    tensors = {"x": torch.from_numpy(drawn)[:, None], "y": torch.arange(60) % 2}
    found = batch_of("fit", dataset)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    first, second = both(dataset, tensors, lambda: pair(likelihoods.Bernoulli((1, 4, 5), relaxed=True), (1, 4, 5)))
    assert first[0] == second[0]
    assert torch.equal(first[1], second[1])


def test_indices_formats_and_columns_of_the_user_hold(images, numbers):
    dataset, drawn = images
    rows = take(batch_of("fit", dataset.select([5, 3, 9]).with_format("torch")), torch.tensor([2, 0]))
    assert torch.equal(rows["x"][:, 0], torch.from_numpy(drawn[[9, 5]]))
    dataset, table = numbers
    few = batch_of("fit", dataset.with_format("numpy", columns=["c", "a"]), torch.float64)
    assert few["x"].shape == (60, 2)
    shuffled = batch_of("fit", dataset.shuffle(seed=0), torch.float64)["x"]
    assert not np.array_equal(shuffled, table)
    assert np.array_equal(np.sort(shuffled, 0), np.sort(table, 0))


def test_a_transform_of_the_user_gives_the_tensors(images):
    dataset, drawn = images

    def transform(rows):
        return {"x": [torch.tensor(np.array(image)) / 255 for image in rows["image"]], "age": rows["label"]}

    found = batch_of("fit", dataset.with_transform(transform))
    assert torch.equal(found["x"], torch.from_numpy(drawn) / 255)
    assert torch.equal(found["age"], torch.arange(60) % 2)
    ragged = dataset.with_transform(lambda rows: {"x": [np.zeros(label + 1) for label in rows["label"]]})
    with pytest.raises(DataError, match="rows of one shape in 'x'"):
        batch_of("fit", ragged)


def test_labels_of_text_are_numbered(numbers):
    dataset = numbers[0].add_column("y", ["dog", "cat", "eel"] * 20)
    assert batch_of("fit", dataset)["y"].tolist() == [1, 0, 2] * 20


def test_arrays_of_features(says):
    features = datasets.Features({"x": datasets.Array2D((2, 3), "float32")})
    dataset = datasets.Dataset.from_dict({"x": np.arange(24.0).reshape(4, 2, 3).tolist()}, features)
    assert batch_of("fit", dataset)["x"].shape == (4, 2, 3)
    ragged = datasets.Dataset.from_dict({"x": [[1.0, 2.0], [1.0, 2.0], [3.0]]})
    with says(ShapeError, "lists of one length in column 'x'"):
        take(batch_of("fit", ragged), slice(None))


# ------------------------------------------------------------------------------------------------- a mixed table


@pytest.fixture
def mixed():
    """Columns of several kinds with gaps, as a data frame and as a data set."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "height": draw.normal(170, 10, 90),
            "visits": draw.poisson(3, 90),
            "city": draw.choice(["Ulm", "Bonn", "Kiel"], 90),
            "member": draw.choice([True, False], 90),
        }
    )
    frame.loc[::7, "height"] = np.nan
    frame.loc[3::11, "city"] = None
    frame["visits"] = frame["visits"].astype("Int64")
    frame.loc[5::13, "visits"] = pd.NA
    return frame, datasets.Dataset.from_pandas(frame)


def test_a_mixed_table(mixed):
    frame, dataset = mixed
    table = Table.of(dataset)
    assert str(table) == str(Table.of(frame))
    source, batch = table.encode(dataset), table.encode(frame)
    found = batch_of("fit", source)
    assert torch.equal(found["x"], batch["x"])
    assert torch.equal(found["mask"], batch["mask"])

    def made():
        columns = {column.name: likelihoods.Normal(1) for column in table.columns}
        model, guide = pair(likelihoods.Heterogeneous(columns), 4)
        return Masked(model), ZeroFilled(guide)

    first, second = both(source, batch, made)
    assert first[0] == second[0]
    assert torch.equal(first[1], second[1])
    model, guide = made()
    filled = [impute(model, guide, kind, num_samples=10).x for kind in (source, batch)]
    assert torch.equal(*filled)
    assert not table.fill(frame, filled[0]).isna().any().any()


def test_a_mixed_table_by_itself_is_refused_with_the_line(mixed, says):
    with says(DataError, "string", "'city'", "table = pyrovae.data.Table.of(dataset), batch = table.encode(dataset)"):
        batch_of("fit", mixed[1])
    with says(DataError, "lacks 'city'"):
        Table.of(mixed[1]).encode(mixed[1].remove_columns("city"))


def test_lists_are_no_cells_of_a_table():
    with pytest.raises(CellError):
        Table.of(datasets.Dataset.from_dict({"a": [[1], [2]]}))


# ------------------------------------------------------------------------------------------------- what goes wrong


def test_splits_by_name_are_refused_with_the_line(numbers, says):
    splits = datasets.DatasetDict({"train": numbers[0]})
    with says(DataError, "a DatasetDict", "Write fit(..., data['train'])"):
        batch_of("fit", splits)


def test_a_data_set_without_rows_is_refused(numbers, says):
    with says(DataError, "requires rows", "length 0"):
        batch_of("fit", numbers[0].select([]))


@pytest.mark.parametrize("change", ["overwrite", "shorten"])
def test_a_file_that_changes_while_it_is_used_is_named(numbers, tmp_path, change, says):
    numbers[0].save_to_disk(tmp_path / "saved")
    dataset = datasets.load_from_disk(tmp_path / "saved")
    (path,) = (Path(file["filename"]) for file in dataset.cache_files)
    found = batch_of("fit", dataset)
    take(found, slice(10))
    if change == "shorten":
        os.truncate(path, path.stat().st_size // 2)
    else:
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    with says(DataError, path.name, "changed while it was used", "Load it again"):
        take(found, slice(10))
