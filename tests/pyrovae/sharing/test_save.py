"""What `save` takes, what it refuses, and what a folder keeps of a pair that was changed after it was built."""

import copy
from dataclasses import dataclass

import pyro
import pytest
import torch
from torch import nn

import pyrovae
from pyrovae.data import Binarize, Table, Vocabulary
from pyrovae.errors import CheckpointError, FolderError, OutputError, UnknownClassError
from pyrovae.guides import NormalGuide
from pyrovae.inference import evaluate, fit
from pyrovae.models import VAE, Program, likelihoods, priors
from pyrovae.networks.dense import MLP


class Net(pyrovae.Recorded, nn.Module):
    """A network of a user's own, which shares a layer."""

    def __init__(self, width, out, act=nn.Tanh):
        super().__init__()
        self.one, self.act = nn.Linear(width, width), act()
        self.two, self.three = self.one, nn.Linear(width, out)
        self.register_buffer("mask", torch.full((out,), -torch.inf))

    def forward(self, x):
        return self.three(self.act(self.two(self.act(self.one(x)))))


class Mine(pyrovae.Recorded, nn.Module):
    """A model and a guide in one class, as Pyro's tutorials write them."""

    def __init__(self, dim=2):
        super().__init__()
        self.encoder, self.decoder, self.dim = Net(4, 2 * dim), nn.Linear(dim, 4), dim

    def model(self, x=None, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", pyro.distributions.Normal(torch.zeros(self.dim), 1.0).to_event(1))
            return pyro.sample("x", likelihoods.Bernoulli(4)(self.decoder(z)), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            loc, raw = self.encoder(x).chunk(2, -1)
            pyro.sample("z", pyro.distributions.Normal(loc, raw.exp()).to_event(1))


@dataclass(frozen=True)
class Shift:
    """A transform of a user's own."""

    by: float = 1.0

    def prepare(self, batch):
        return batch

    def __call__(self, batch):
        return {**batch, "x": batch["x"] + self.by}


def pair(dim=2):
    return VAE(priors.StandardNormal(dim), likelihoods.Bernoulli(4), MLP(dim, 4, (5,))), NormalGuide(MLP(4, 2 * dim))


def test_what_belongs_to_the_pair_travels(tmp_path):
    words, table = Vocabulary(("<pad>", "a"), "char"), Table.of(torch.rand(3, 2).numpy())
    card = pyrovae.Card(title="Mine", data="four bits")
    parts = {"transform": Binarize("static", 3), "vocabulary": words, "table": table}
    loaded = pyrovae.load(pyrovae.save(tmp_path / "pair", *pair(), **parts, card=card))
    assert {name: getattr(loaded, name) for name in parts} == parts
    assert loaded.card.startswith("---\nlibrary_name")
    assert "four bits" in loaded.card


def test_classes_of_the_user(tmp_path, says):
    both = Mine()
    pyrovae.save(tmp_path / "pair", both.model, both.guide, transform=Shift(2.0))
    with says(UnknownClassError, "Shift", f"load({str(tmp_path / 'pair')!r}, classes=[Mine, Shift])"):
        pyrovae.load(tmp_path / "pair", classes=[Mine])
    with says(UnknownClassError, "the classes", "Mine'", "Shift'"):
        pyrovae.load(tmp_path / "pair")
    loaded = pyrovae.load(tmp_path / "pair", classes=[Mine, Shift])
    assert loaded.transform == Shift(2.0)
    owner = loaded.model.__self__
    assert owner is loaded.guide.__self__
    assert owner.encoder.two is owner.encoder.one
    batch = {"x": torch.rand(3, 4).round()}
    assert str(evaluate(both.model, both.guide, batch)) == str(evaluate(loaded.model, loaded.guide, batch))


def test_a_trained_pair_in_double_and_frozen(tmp_path):
    model, guide = pair()
    model.double(), guide.double()
    batch = {"x": torch.rand(20, 4).round().double()}
    fit(model, guide, batch, epochs=1, progress=False)
    guide.encoder.requires_grad_(False)
    before = copy.deepcopy((model.state_dict(), guide.state_dict()))
    loaded = pyrovae.load(pyrovae.save(tmp_path / "pair", model, guide))
    for mine, now, theirs in zip(before, (model, guide), (loaded.model, loaded.guide), strict=True):
        for name, value in mine.items():
            assert theirs.state_dict()[name].dtype == torch.float64
            assert torch.equal(value, theirs.state_dict()[name])
            assert torch.equal(value, now.state_dict()[name])
    assert model.training
    frozen = [[p.requires_grad for p in g.parameters()] for g in (guide, loaded.guide, loaded.model)]
    assert frozen == [[False] * 2 * 2, [False] * 2 * 2, [True] * 2 * 2]
    assert loaded.model.prior.loc.dtype == torch.float64


def test_a_submodule_that_was_replaced_is_saved_as_it_is_now(tmp_path):
    model, guide = pair()
    model.prior = priors.MixtureOfNormals(2, 3)
    model.prior = priors.VampPrior(guide.given, torch.rand(3, 4))
    loaded = pyrovae.load(pyrovae.save(tmp_path / "pair", model, guide))
    assert loaded.model.prior.posterior[0].__self__ is loaded.guide
    assert "MixtureOfNormals" not in (tmp_path / "pair" / "config.json").read_text()


CHANGES = {
    "an attribute": (lambda m, g: setattr(m.likelihood, "relaxed", True), "model.likelihood has relaxed = True"),
    "a new attribute": (lambda m, g: setattr(g, "note", "x"), "guide has note = 'x'"),
    "a lost attribute": (lambda m, g: delattr(m.prior, "dim"), "model.prior has dim = absent"),
    "a new module": (lambda m, g: m.add_module("more", nn.Linear(1, 1)), "model.more was added"),
    "a lost module": (lambda m, g: delattr(g.encoder, "layers"), "was removed"),
    "another module": (lambda m, g: g.encoder.layers.__setitem__(1, nn.Tanh()), "is a Tanh"),
    "another size": (lambda m, g: g.encoder.layers.__setitem__(0, nn.Linear(4, 9)), "guide.encoder.layers.0"),
    "a new parameter": (lambda m, g: g.register_parameter("p", nn.Parameter(torch.ones(1))), "guide.p came or went"),
    "a hook": (lambda m, g: m.decoder.register_forward_hook(print), "model.decoder has a hook"),
    "a buffer that is no weight": (lambda m, g: m.prior.loc.fill_(3), "model.prior.loc is no weight"),
    "a tied weight": (lambda m, g: setattr(g.encoder.layers[2], "bias", g.encoder.layers[0].bias), "shape"),
    "a shared weight": (lambda m, g: setattr(m.decoder.layers[2], "bias", g.encoder.layers[2].bias), "share"),
    "NaN": (lambda m, g: g.encoder.layers[0].bias.data.fill_(torch.nan), "finite weights"),
    "two types of numbers": (lambda m, g: m.double(), "one type of numbers"),
    "a complex weight": (lambda m, g: setattr(m.prior, "loc", m.prior.loc + 0j), "one type of numbers"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_is_not_recorded_is_named(name, tmp_path, says):
    change, words = CHANGES[name]
    model, guide = (
        VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4, (4,))),
        NormalGuide(MLP(4, 4, (5,))),
    )
    change(model, guide)
    with says(FolderError, words):
        pyrovae.save(tmp_path / "pair", model, guide)
    assert list(tmp_path.iterdir()) == []


class Lender(Program):
    """A guide that uses a network which it does not own."""

    def __init__(self, network):
        super().__init__()
        self._network = (network,)


class Values(Program):
    """A guide whose constructor looks at the values of tensors."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.largest = self.layer.weight.detach().numpy().shape


class Drawn(Program):
    """A guide with a random buffer that is no weight."""

    def __init__(self):
        super().__init__()
        self.register_buffer("noise", torch.rand(3), persistent=False)


def function(x):
    """No module."""


@pytest.mark.parametrize(
    ("guide", "words"),
    [
        (function, ["the function 'function'", "pyrovae.models.Program"]),
        (3, ["guide that is a module", "'int'"]),
        (None, ["guide that is a module", "class Mine(Program)"]),
        (NormalGuide(MLP(4, 4, activation=lambda: nn.ReLU())), ["'activation' of MLP", "functools.partial"]),
        (nn.Bilinear(1, 1, 1), ["guide is a Bilinear", "pyrovae.Recorded"]),
        (Lender(nn.Linear(2, 3)), ["weight of a Linear", "belongs to neither"]),
        (Values(), ["Values that cannot be built", "torch.device('meta')"]),
        (Drawn(), ["guide.noise is no weight", "persistent=True"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_program_that_cannot_be_saved(guide, words, tmp_path, says):
    with says(FolderError, *words):
        pyrovae.save(tmp_path / "pair", pair()[0], guide)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "part", [{"transform": nn.Identity()}, {"transform": len}, {"vocabulary": ("a",)}, {"table": 3}, {"card": "text"}]
)
def test_a_part_of_another_kind(part, tmp_path, says):
    with says(FolderError, next(iter(part))):
        pyrovae.save(tmp_path / "pair", *pair(), **part)


def test_a_folder_that_holds_something_is_not_replaced(tmp_path, says):
    place = pyrovae.save(tmp_path / "pair", *pair())
    with says(OutputError, "empty folder", "overwrite=True"):
        pyrovae.save(place, *pair())
    pyrovae.save(place, *pair(3), overwrite=True)
    assert pyrovae.load(place).model.prior.dim == 3
    run = tmp_path / "run"
    fit(*pair(), {"x": torch.rand(9, 4).round()}, epochs=1, progress=False, run=run)
    with says(OutputError, "no pair", "another folder"):
        pyrovae.save(run, *pair(), overwrite=True)
    (tmp_path / "file").write_text("x")
    with says(OutputError, "folder"):
        pyrovae.save(tmp_path / "file", *pair(), overwrite=True)
    for path in (3, None, b"x"):
        with says(OutputError, "path of a folder"):
            pyrovae.save(path, *pair())


def test_a_failed_write_leaves_no_pair(tmp_path, says):
    place = pyrovae.save(tmp_path / "pair", *pair())
    (place / "model.safetensors").unlink()
    (place / "model.safetensors").mkdir()
    with says(OutputError, "model.safetensors"):
        pyrovae.save(place, *pair(), overwrite=True)
    with says(FolderError, "config.json"):
        pyrovae.load(place)
    (place / "model.safetensors").rmdir()
    (place / ".config.json.0123abcd").write_text("begun")
    pyrovae.load(pyrovae.save(place, *pair(), overwrite=True))


def test_a_loaded_pair_prints_in_a_few_lines(tmp_path):
    loaded = pyrovae.load(pyrovae.save(tmp_path / "pair", *pair(), transform=Binarize("static", 3)))
    lines = repr(loaded).splitlines()
    assert [line.split()[0] for line in lines] == ["model", "guide", "transform", "card:"]
    assert "VAE" in lines[0]
    assert "parameters" in lines[0]
    assert max(map(len, lines)) < 120
    assert "library_name" not in repr(loaded)


def test_load_and_load_run_name_each_other(tmp_path, says):
    fit(*pair(), {"x": torch.rand(9, 4).round()}, epochs=1, progress=False, run=tmp_path / "run")
    with says(FolderError, "the folder of a training", f"load_run({str(tmp_path / 'run')!r})"):
        pyrovae.load(tmp_path / "run")
    pyrovae.save(tmp_path / "pair", *pair())
    with says(CheckpointError, "that save wrote", f"load({str(tmp_path / 'pair')!r})"):
        pyrovae.load_run(tmp_path / "pair")
