"""A tracker sends each epoch once, the settings, and pictures; a resumed training goes on with its run."""

import json

import pytest
import torch

from pyrovae.errors import MissingExtraError, SettingError
from pyrovae.inference import fit
from pyrovae.tracking import KINDS, Client, Tracker, tracker


class Recorder(Client):
    """It records what it is sent."""

    def __init__(self):
        self.said, self.pictures, self.settings = [], [], None

    def open(self, run, settings, epoch):
        self.said.append(("open", run, epoch))
        self.settings = settings
        return run or "run-1"

    def log(self, row, epoch):
        self.said.append((epoch, row))

    def show(self, name, picture, epoch):
        self.pictures.append((name, epoch, picture.mode, picture.width > 50))

    def close(self, failed):
        self.said.append(("close", failed))


@pytest.fixture
def recorded(tmp_path):
    """A tracker with a client that records."""

    def recorded(**options):
        client = Recorder()
        return client, Tracker(client, "recorder", tmp_path, **options)

    return recorded


def test_each_row_is_sent_once_with_the_settings(train, recorded):
    client, callback = recorded()
    history = train([callback])
    rows = list(enumerate(history.rows, 1))
    assert client.said == [("open", None, 1), *rows, ("close", False)]
    assert client.settings["batch_size"] == 30
    assert client.settings["model.likelihood"] == "pyrovae.models.likelihoods.bernoulli.Bernoulli"


def test_pictures_are_drawn_at_the_end_or_now_and_then(train, recorded):
    names = ["latent_z", "reconstructions", "samples"]
    for every, epochs in [(None, [3]), (2, [2, 3])]:
        client, callback = recorded(every=every)
        train([callback], epochs=3)
        assert client.pictures == [(name, epoch, "RGB", True) for epoch in epochs for name in names]
    client, callback = recorded(every=1, pictures=False)
    train([callback])
    assert client.pictures == []


def test_pictures_do_not_disturb_the_training(train, recorded):
    assert train([recorded(every=1)[1]]).rows == train([]).rows


def test_a_pair_that_cannot_be_drawn_is_tracked_without_pictures(recorded, all_pairs):
    for name, drawn in {"conditional-on-labels": {"latent_z", "reconstructions"}, "text-lstm": {"latent_z"}}.items():
        client, callback = recorded()
        model, guide, batch, _ = all_pairs[name]()
        fit(model, guide, batch, epochs=1, progress=False, compile=False, callbacks=[callback])
        assert {name for name, *_ in client.pictures} == drawn
        assert client.said[-1] == ("close", False)


def test_a_resumed_training_goes_on_with_its_run(train, recorded, tmp_path):
    train([recorded()[1]], run=tmp_path)
    client, callback = recorded()
    history = train([callback], epochs=4, run=tmp_path, resume=True)
    assert client.said == [("open", "run-1", 3), (3, history.rows[2]), (4, history.rows[3]), ("close", False)]


def test_epochs_that_were_not_sent_are_sent_later(train, recorded, tmp_path):
    """A kill may come between a checkpoint and what the tracker is sent of it; or the tracker is new."""
    train([recorded()[1]], run=tmp_path)
    (tmp_path / "tracking.json").write_text(json.dumps({"recorder": {"run": "run-7", "epoch": 1}}))
    client, callback = recorded()
    train([callback], epochs=3, run=tmp_path, resume=True)
    assert client.said[0] == ("open", "run-7", 2)
    assert [part[0] for part in client.said[1:-1]] == [2, 3]
    (tmp_path / "tracking.json").write_text("{")
    client, callback = recorded()
    train([callback], epochs=4, run=tmp_path, resume=True)
    assert client.said[0] == ("open", None, 1)
    assert [part[0] for part in client.said[1:-1]] == [1, 2, 3, 4]


def test_another_training_begins_another_run(train, recorded, tmp_path):
    train([recorded()[1]], run=tmp_path)
    client, callback = recorded()
    train([callback], run=tmp_path, overwrite=True)
    assert client.said[0] == ("open", None, 1)


def test_a_run_that_failed_says_so(train, recorded):
    def fail(report):
        raise RuntimeError("x")

    client, callback = recorded()
    with pytest.raises(RuntimeError, match="x"):
        train([callback, fail])
    assert client.said[-1] == ("close", True)
    assert client.pictures == []


def test_a_training_without_an_epoch_opens_nothing(train, recorded):
    client, callback = recorded()
    train([callback], epochs=0)
    assert client.said == []


def test_two_trackers_note_their_runs_in_one_file(train, recorded, tmp_path):
    one, other = recorded()[1], Tracker(Recorder(), "other", tmp_path)
    train([one, other])
    noted = json.loads((tmp_path / "tracking.json").read_text())
    assert noted == {name: {"run": "run-1", "epoch": 2} for name in ("recorder", "other")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_package_is_named_before_training(kind, monkeypatch, tmp_path, says):
    monkeypatch.setitem(__import__("sys").modules, kind, None)
    with says(
        MissingExtraError,
        f"tracker('{kind}') requires {kind}",
        f"pip install '{'trackio' if kind == 'trackio' else 'pyrovae[track]'}'",
    ):
        tracker(kind, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "tensorbord"}, "kind"),
        ({"kind": None}, "kind"),
        ({"every": 0}, "every requires"),
        ({"every": 1.5}, "every requires"),
        ({"pictures": "no"}, "pictures"),
    ],
)
def test_arguments_without_a_meaning(arguments, words, tmp_path):
    with pytest.raises(SettingError, match=words):
        tracker(**{"kind": "tensorboard", "folder": tmp_path} | arguments)


def test_the_pair_is_drawn_with_its_last_weights(train, recorded, monkeypatch):
    """With patience these are the best ones."""
    seen = []

    def pictures(model, guide, data, transform):
        seen.append([p.detach().clone() for p in model.parameters()])
        return iter(())

    monkeypatch.setattr("pyrovae.tracking.track.pair_pictures", pictures)
    held = []
    history = train(
        [recorded()[1], lambda report: held.append([p.detach().clone() for p in report.model.parameters()])],
        epochs=3,
        patience=3,
        optim=(torch.optim.Adam, {"lr": 0.1}),
    )
    assert all(torch.equal(a, b) for a, b in zip(seen[0], held[history.best_epoch - 1], strict=True))
