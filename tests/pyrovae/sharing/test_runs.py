"""`load_run`: the pair of a run folder with the weights that its training ended with, and its data."""

import json
from dataclasses import replace
from functools import partial

import pyro
import pytest
import torch

import pyrovae
from pyrovae import data
from pyrovae.errors import CheckpointError, FolderError
from pyrovae.guides import NormalGuide
from pyrovae.inference import evaluate, fit
from pyrovae.models import VAE, Program, likelihoods, priors
from pyrovae.networks.dense import MLP

BATCH = {"x": torch.rand(20, 4).round()}


def pair(prior=None):
    model = VAE(prior or priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4, (5,)))
    return model, NormalGuide(MLP(4, 4, (5,)))


train = partial(fit, epochs=2, progress=False, batch_size=5)


@pytest.fixture
def table(tmp_path):
    """A file of bits, as a data set."""
    path = tmp_path / "bits.csv"
    rows = torch.rand(40, 4, generator=torch.Generator().manual_seed(1)).round().int().tolist()
    path.write_text("\n".join(",".join(map(str, row)) for row in rows))
    return data.load(path)


@pytest.mark.parametrize("options", [{}, {"average": 0.5}, {"patience": 1}], ids=str)
def test_the_weights_are_those_of_the_end(options, table, tmp_path):
    model, guide = pair()
    history = train(model, guide, table, run=tmp_path / "run", transform=data.Scale(), **options)
    state = torch.get_rng_state()
    run = pyrovae.load_run(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state)
    assert run.history == history
    assert run.transform == data.Scale()
    assert run.note == ""
    assert str(run.data) == str(table)
    assert all(torch.equal(run.data.test[name], tensor) for name, tensor in table.test.items())
    measured = [evaluate(m, g, table.test, seed=2) for m, g in ((model, guide), (run.model, run.guide))]
    assert torch.equal(measured[0].per_datum["elbo"], measured[1].per_datum["elbo"])


def test_describing_a_pair_changes_no_training(table, tmp_path):
    histories = []
    for run in (None, tmp_path / "run"):
        torch.manual_seed(3)
        histories.append(train(*pair(), table, run=run))
    assert histories[0] == histories[1]


def test_a_resumed_run_is_described_again(table, tmp_path):
    torch.manual_seed(3)
    train(*pair(), table, run=tmp_path / "run")
    before = (tmp_path / "run" / "pair.json").read_text()
    (tmp_path / "run" / "pair.json").unlink()
    train(*pair(), table, run=tmp_path / "run", resume=True, epochs=3)
    assert (tmp_path / "run" / "pair.json").read_text() == before
    assert len(pyrovae.load_run(tmp_path / "run").history.rows) == 3


def test_a_run_that_is_replaced_leaves_nothing(table, tmp_path):
    guide = NormalGuide(MLP(4, 4, (5,)))
    train(*pair(priors.VampPrior(guide.given, torch.rand(3, 4)))[:1], guide, table, run=tmp_path / "run")
    assert (tmp_path / "run" / "pair.safetensors").exists()
    assert pyrovae.load_run(tmp_path / "run").model.prior.posterior[0].__self__ is not guide
    train(*pair(), table, run=tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "pair.safetensors").exists()


def test_data_that_were_changed_are_stored(table, tmp_path):
    gaps = replace(table, train={**table.train, "mask": torch.ones(len(table.train["x"]), 4, dtype=torch.bool)})
    train(*pair(), gaps, run=tmp_path / "run")
    run = pyrovae.load_run(tmp_path / "run")
    assert run.data.train.keys() == {"x", "mask"}
    for split, batch in gaps.splits.items():
        assert all(torch.equal(run.data.splits[split][name], tensor) for name, tensor in batch.items())
    assert (run.data.name, run.data.source) == (table.name, table.source)


@pytest.mark.parametrize("most", [0, 2**26])
def test_changed_data_of_any_type_and_size(most, table, tmp_path, monkeypatch):
    monkeypatch.setattr("pyrovae.inference.training.run_pair.STORED", most)
    changed = replace(table, test={"x": table.test["x"].to(torch.complex64)} if most else table.train)
    train(*pair(), changed, run=tmp_path / "run")
    run = pyrovae.load_run(tmp_path / "run")
    assert run.data is None
    assert "changed after it was loaded" in run.note


def test_data_that_are_others_now_are_not_used(table, tmp_path):
    train(*pair(), table, run=tmp_path / "run")
    path = tmp_path / "bits.csv"
    path.write_text(path.read_text().replace("0", "1"))
    assert "others than those of the training" in pyrovae.load_run(tmp_path / "run").note
    path.unlink()
    run = pyrovae.load_run(tmp_path / "run")
    assert run.data is None
    assert "the data are not found" in run.note


def test_tensors_and_data_sets_of_ones_own_are_not_found(table, tmp_path):
    train(*pair(), BATCH, run=tmp_path / "one")
    assert "no Dataset" in pyrovae.load_run(tmp_path / "one").note
    train(*pair(), replace(table, origin=None), run=tmp_path / "two")
    assert "did not come from pyrovae.data.load" in pyrovae.load_run(tmp_path / "two").note


def test_the_vocabulary_comes_with_stored_sentences(tmp_path):
    words = data.Vocabulary(("<pad>", "<bos>", "<eos>", "<unk>"), "word")
    split = dict(BATCH)
    origin = data.origin.Origin({}, "another")
    sentences = data.Dataset(split, {}, split, "mine", "drawn", ("a", "b"), vocabulary=words, origin=origin)
    train(*pair(), sentences, run=tmp_path / "run")
    found = pyrovae.load_run(tmp_path / "run").data
    assert (found.vocabulary, found.classes) == (words, ("a", "b"))


class Own(Program):
    """A guide of a user's own."""

    def __init__(self, width):
        super().__init__()
        self.net = MLP(width, 4)

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            loc, raw = self.net(x).chunk(2, -1)
            pyro.sample("z", pyro.distributions.Normal(loc, raw.exp()).to_event(1))


def test_classes_of_the_user_are_listed_by_the_reader(tmp_path, says):
    train(pair()[0], Own(4), BATCH, run=tmp_path)
    with says(FolderError, "Own", f"load_run({str(tmp_path)!r}, classes=[Own])"):
        pyrovae.load_run(tmp_path)
    assert type(pyrovae.load_run(tmp_path, classes=[Own]).guide) is Own


def test_a_pair_that_cannot_be_recorded_says_why(tmp_path, says):
    guide = NormalGuide(MLP(4, 4, (5,), lambda: torch.nn.ReLU()))
    train(pair()[0], guide, BATCH, run=tmp_path)
    with says(FolderError, "could not be recorded", "'activation' of MLP", "load_weights"):
        pyrovae.load_run(tmp_path)


def test_a_folder_without_a_run(tmp_path, says):
    with says(CheckpointError, "folder of a training"):
        pyrovae.load_run(tmp_path)
    train(*pair(), BATCH, run=tmp_path)
    (tmp_path / "pair.json").unlink()
    with says(FolderError, "no pair.json", "load_weights"):
        pyrovae.load_run(tmp_path)


RECORDS = {
    "no JSON": lambda content: "x",
    "another version": lambda content: content | {"version": 2},
    "a further entry": lambda content: content | {"code": "x"},
    "a pair that is none": lambda content: content | {"pair": {"objects": []}},
    "a class off the list": lambda content: json.loads(json.dumps(content).replace("pyrovae.models.VAE", "os.system")),
    "another size": lambda content: json.loads(
        json.dumps(content).replace('"out_shape": 4', '"out_shape": 1000000000')
    ),
    "further parts": lambda content: content | {"pair": content["pair"] | {"roots": {"model": None}}},
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_anyone_wrote(name, tmp_path):
    train(*pair(), BATCH, run=tmp_path)
    path = tmp_path / "pair.json"
    path.write_text(json.dumps(RECORDS[name](json.loads(path.read_text()))))
    with pytest.raises((FolderError, CheckpointError)):
        pyrovae.load_run(tmp_path)


ARGUMENTS = [
    None,
    3,
    {},
    {"name": 3},
    {"name": "digits", "code": 1},
    {"download": True},
    {"root": ["x"]},
    {"valid": True},
]


@pytest.mark.parametrize("changes", ARGUMENTS, ids=str)
def test_arguments_of_load_that_anyone_wrote(changes, table, tmp_path):
    train(*pair(), table, run=tmp_path / "run")
    path = tmp_path / "run" / "pair.json"
    content = json.loads(path.read_text())
    content["data"]["load"] = content["data"]["load"] | changes if isinstance(changes, dict) and changes else changes
    path.write_text(json.dumps(content))
    run = pyrovae.load_run(tmp_path / "run")
    assert run.data is None
    assert run.note
