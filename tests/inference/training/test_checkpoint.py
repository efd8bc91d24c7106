"""Checkpoints: what is saved comes back, nothing in a file is run, and a failed write harms nothing."""

import os
import pickle
import zipfile
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from pyrovae.errors import CheckpointError, CheckpointWarning, OutputError
from pyrovae.guides import NormalGuide
from pyrovae.inference import load_weights
from pyrovae.inference.training.checkpoint import PREVIOUS, load, save, seal
from pyrovae.inference.training.pair_weights import restore, weights
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def pair(hidden=4, latent=2):
    model = VAE(priors.StandardNormal(latent), likelihoods.Normal(3), MLP(latent, 3, (hidden,)))
    return model, NormalGuide(MLP(3, 2 * latent, (hidden,)))


def same(one, other):
    return all(
        torch.equal(a, b)
        for m, n in zip(one, other, strict=True)
        for a, b in zip(m.state_dict().values(), n.state_dict().values(), strict=True)
    )


def seal_file(path, content):
    """A file of torch's with the seal of a checkpoint."""
    torch.save(content, path)
    path.write_bytes(path.read_bytes() + seal(path.read_bytes()))


@pytest.fixture
def run(tmp_path):
    """A run folder with the checkpoint of a pair."""
    save(tmp_path / "checkpoint.pt", {"weights": weights(*pair()), "best": None})
    return tmp_path


# ---------------------------------------------------------------------------------------- round trips


def test_a_state_goes_round(tmp_path):
    state = {
        "tensor": torch.randn(3, 4),
        "rng": torch.get_rng_state(),
        "nested": {"list": [1, 2.5, "three", None, True], "tuple": (1, 2), "nan": float("inf")},
    }
    save(tmp_path / "deep" / "er" / "a.pt", state)
    back = load(tmp_path / "deep" / "er" / "a.pt")
    assert torch.equal(back.pop("tensor"), state.pop("tensor"))
    assert torch.equal(back.pop("rng"), state.pop("rng"))
    assert back == state


def test_an_optimizer_goes_round(tmp_path):
    model, _ = pair()
    optimizer = torch.optim.Adam(model.parameters())
    model.decoder(torch.randn(5, 2)).sum().backward()
    optimizer.step()
    save(tmp_path / "a.pt", {"optimizer": optimizer.state_dict()})
    other = torch.optim.Adam(pair()[0].parameters(), lr=9.0)
    other.load_state_dict(load(tmp_path / "a.pt")["optimizer"])
    assert other.param_groups[0]["lr"] == 1e-3
    assert torch.equal(other.state_dict()["state"][1]["exp_avg"], optimizer.state_dict()["state"][1]["exp_avg"])


def test_weights_go_round(tmp_path):
    one, other = pair(), pair()
    assert not same(one, other)
    save(tmp_path / "a.pt", weights(*one))
    restore(*other, load(tmp_path / "a.pt"))
    assert same(one, other)


def test_the_weights_of_a_run(tmp_path):
    last, best, target = pair(), pair(), pair()
    save(tmp_path / "checkpoint.pt", {"weights": weights(*last), "best": None})
    load_weights(*target, tmp_path)
    assert same(target, last)
    save(tmp_path / "checkpoint.pt", {"weights": weights(*last), "best": weights(*best)})
    load_weights(*target, str(tmp_path))
    assert same(target, best)


def test_the_parameters_of_plain_functions_go_round(tmp_path):
    def model(x):
        loc = pyro.param("loc", torch.zeros(3))
        scale = pyro.param("scale", torch.ones(()), constraint=dist.constraints.positive)
        return pyro.sample("x", dist.Normal(loc, scale).to_event(1), obs=x)

    def guide(x):
        return None

    poutine.trace(model).get_trace(torch.zeros(3))
    store = pyro.get_param_store()
    store["scale"] = torch.tensor(0.25)
    save(tmp_path / "a.pt", weights(model, guide))
    pyro.clear_param_store()
    poutine.trace(model).get_trace(torch.zeros(3))
    restore(model, guide, load(tmp_path / "a.pt"))
    assert store["scale"].item() == pytest.approx(0.25)


def test_the_store_of_others_is_not_saved():
    pyro.param("foreign", torch.zeros(3))
    assert weights(*pair())["store"] == {}


def test_a_module_that_is_both_model_and_guide_is_saved_once():
    class Both(nn.Linear):
        def model(self, x): ...
        def guide(self, x): ...

    both = Both(2, 3)
    assert len(weights(both.model, both.guide)["modules"]) == 1


# ----------------------------------------------------------------------------------------- bad files


def test_no_checkpoint(tmp_path, says):
    with says(CheckpointError, "no checkpoint at", str(tmp_path), "fit("):
        load_weights(*pair(), tmp_path)
    with says(CheckpointError, "no checkpoint at"):
        load(tmp_path)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_checkpoint(fraction, run, says):
    path = run / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    with says(CheckpointError, str(path)):
        load(path)


def test_every_truncation_is_refused(run):
    path = run / "checkpoint.pt"
    whole = path.read_bytes()
    lengths = range(0, len(whole), 20)
    assert len(lengths) > 200
    for length in lengths:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            load(path)


def test_every_flipped_bit_is_found(run):
    path = run / "checkpoint.pt"
    whole = path.read_bytes()
    places = [*range(0, len(whole), 5), *range(len(whole) - 90, len(whole))]
    assert len(places) > 1000
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(CheckpointError):
            load_weights(*pair(), run)


def test_the_checkpoint_before_the_last_one(run):
    """It is kept by every writer, is used where the last one is broken, and never where it holds something else."""
    path, before = run / "checkpoint.pt", load(run / "checkpoint.pt")
    save(path, {"weights": weights(*pair()), "best": None, "new": True})
    assert load(path)["new"]
    whole = path.read_bytes()
    for content in (whole[:-1], b"", None):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.warns(CheckpointWarning, match="Took 'checkpoint.previous.pt', the checkpoint before it"):
            assert load(path).keys() == before.keys()
    seal_file(path, torch.zeros(3))
    with pytest.raises(CheckpointError, match="holds a Tensor"):
        load(path)
    path.write_bytes(b"")
    (run / PREVIOUS).write_bytes(b"")
    with pytest.raises(CheckpointError, match="checksum"):
        load(path)


def test_a_file_system_without_links(run, monkeypatch):
    def fail(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", fail)
    before = (run / "checkpoint.pt").read_bytes()
    save(run / "checkpoint.pt", {})
    assert (run / PREVIOUS).read_bytes() == before
    assert {file.name for file in run.iterdir()} == {"checkpoint.pt", PREVIOUS}


def test_a_file_that_would_grow_is_refused_before_it_does(tmp_path, says):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data/0", bytes(10**7))
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.pt").write_bytes(content + seal(content))
    with says(CheckpointError, "a.pt", "would grow to 10,000,000 bytes"):
        load(tmp_path / "a.pt")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(bad, run, says):
    model, guide = pair()
    model.decoder.layers[0].bias.data[1] = bad
    save(run / "checkpoint.pt", {"weights": weights(model, guide), "best": None})
    with says(CheckpointError, "'decoder.layers.0.bias'", "not finite"):
        load_weights(*pair(), run)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.complex64])
def test_weights_of_another_type(dtype, run, says):
    state = weights(*pair())
    state["modules"][0]["decoder.layers.0.bias"] = state["modules"][0]["decoder.layers.0.bias"].to(dtype)
    save(run / "checkpoint.pt", {"weights": state, "best": None})
    with says(CheckpointError, "'decoder.layers.0.bias'", str(dtype), "torch.float32"):
        load_weights(*pair(), run)


@pytest.mark.parametrize(
    "state", [3, [], {"modules": {}, "store": {}}, {"modules": [3, 4], "store": {}}, {"modules": []}]
)
def test_weights_of_another_kind(state, run):
    save(run / "checkpoint.pt", {"weights": state, "best": None})
    with pytest.raises(CheckpointError):
        load_weights(*pair(), run)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 100,
        b"hello",
        b"PK\x03\x04 not a zip",
        b"\x80\x02J",
        b"\x80\x02\x87",
        b"\x80\x37abc",
        bytes(range(256)),
    ],
)
def test_garbage(garbage, tmp_path, says):
    (tmp_path / "a.pt").write_bytes(garbage)
    with says(CheckpointError, "a.pt"):
        load(tmp_path / "a.pt")


def test_another_zip_file(tmp_path, says):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as file:
        file.writestr("a.txt", "hello")
    with says(CheckpointError, "a.pt", "no checkpoint"):
        load(tmp_path / "a.pt")


def test_a_file_that_holds_something_else(tmp_path, says):
    seal_file(tmp_path / "checkpoint.pt", torch.zeros(3))
    with says(CheckpointError, "Tensor", "not a training state"):
        load(tmp_path / "checkpoint.pt")
    seal_file(tmp_path / "checkpoint.pt", pair()[0].state_dict())
    with says(CheckpointError, "not the weights of a pair", "decoder.layers.0.weight"):
        load_weights(*pair(), tmp_path)


class Malicious:
    """Touches a file when it is unpickled."""

    def __init__(self, target, function):
        self.target, self.function = target, function

    def __reduce__(self):
        if self.function == "system":
            return os.system, (f"touch {self.target}",)
        if self.function == "mkdir":
            return os.mkdir, (str(self.target),)
        return exec, (f"open({str(self.target)!r}, 'w').close()",)


@pytest.mark.parametrize("function", ["system", "mkdir", "exec"])
@pytest.mark.parametrize("how", ["torch", "torch-legacy", "pickle"])
def test_a_malicious_pickle_is_refused_and_not_run(how, function, tmp_path, says):
    target, path = tmp_path / "touched", tmp_path / "checkpoint.pt"
    state = {"weights": Malicious(target, function), "best": None}
    if how == "pickle":
        path.write_bytes(pickle.dumps(state))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=how == "torch")
    whole = path.read_bytes()
    with says(CheckpointError, "checkpoint.pt", "checksum"):
        load_weights(*pair(), tmp_path)
    path.write_bytes(whole + seal(whole))
    with says(CheckpointError, "checkpoint.pt", "refused without being run" if how == "torch" else "no checkpoint"):
        load_weights(*pair(), tmp_path)
    assert not target.exists()
    if how == "pickle":  # the trap would have sprung
        pickle.loads(whole)
        assert target.exists()


# -------------------------------------------------------------------------------------------- writing


def test_a_folder_that_cannot_be_written(tmp_path, says):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.pt", tmp_path / "file" / "deep" / "a.pt"):
        with says(OutputError, "cannot write", "file", "--out", "run="):
            save(path, {})


def test_a_path_that_is_a_folder(tmp_path, says):
    (tmp_path / "a.pt").mkdir()
    with says(OutputError, "a.pt"):
        save(tmp_path / "a.pt", {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_state_that_cannot_be_saved_leaves_the_old_checkpoint(run):
    before = (run / "checkpoint.pt").read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        save(run / "checkpoint.pt", {"weights": torch.zeros(3), "function": lambda: None})
    assert (run / "checkpoint.pt").read_bytes() == before
    assert [p.name for p in run.iterdir()] == ["checkpoint.pt"]


def test_others_may_read_what_the_users_mask_lets_them(tmp_path):
    mask = os.umask(0o022)
    try:
        save(tmp_path / "a.pt", {})
    finally:
        os.umask(mask)
    assert Path(tmp_path / "a.pt").stat().st_mode & 0o777 == 0o644
