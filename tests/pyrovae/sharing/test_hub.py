"""The hub, through a stand-in of its client: three files are sent and fetched, and its errors become one type."""

import shutil
import sys
from types import SimpleNamespace

import pytest
import torch

import pyrovae
from pyrovae.errors import FolderError, MissingExtraError
from pyrovae.guides import NormalGuide
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

hub = pytest.importorskip("huggingface_hub")


class Hub:
    """A hub on the disk. Like the real client's cache, a snapshot links to the content of its files."""

    def __init__(self, root):
        self.root, self.calls = root, []

    def create_repo(self, name, **options):
        self.calls.append(("create_repo", name, options))
        (self.root / "remote" / name).mkdir(parents=True, exist_ok=True)

    def upload_folder(self, *, repo_id, folder_path, allow_patterns):
        self.calls.append(("upload_folder", repo_id, allow_patterns))
        for pattern in allow_patterns:
            for path in type(self.root)(folder_path).glob(pattern):
                shutil.copy(path, self.root / "remote" / repo_id / path.name)
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    def snapshot_download(self, name, *, allow_patterns):
        remote = self.root / "remote" / name
        if not remote.is_dir():
            raise ValueError(f"404 Client Error: {name}\nand more")
        cache = self.root / "cache" / f"models--{name.replace('/', '--')}"
        snapshot, blobs = cache / "snapshots" / "abc", cache / "blobs"
        for folder in (snapshot, blobs):
            folder.mkdir(parents=True, exist_ok=True)
        for path in remote.iterdir():
            if path.name in allow_patterns and not (snapshot / path.name).is_symlink():
                shutil.copy(path, blobs / f"blob of {path.name}")
                (snapshot / path.name).symlink_to(f"../../blobs/blob of {path.name}")
        return str(snapshot)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    made = Hub(tmp_path / "hub")
    for name in ("create_repo", "upload_folder", "snapshot_download"):
        monkeypatch.setattr(hub, name, getattr(made, name))
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def folder(tmp_path):
    model = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4, (5,)))
    return pyrovae.save(tmp_path / "pair", model, NormalGuide(MLP(4, 4, (5,))))


def weights(pair):
    return torch.cat([p.flatten() for p in (*pair.model.parameters(), *pair.guide.parameters())])


def test_there_and_back(stand_in, folder):
    (folder / "notes.txt").write_text("mine alone")
    assert pyrovae.push_to_hub("user/my-vae", folder) == "https://hub/user/my-vae/commit/1"
    assert not (stand_in.root / "remote/user/my-vae/notes.txt").exists()
    loaded = pyrovae.load("user/my-vae")
    assert torch.equal(weights(loaded), weights(pyrovae.load(folder)))
    assert loaded.card == (folder / "README.md").read_text()
    assert stand_in.calls[0] == ("create_repo", "user/my-vae", {"private": False, "exist_ok": True})


def test_a_private_pair(stand_in, folder):
    pyrovae.push_to_hub("user/mine", folder, private=True)
    assert stand_in.calls[0][2]["private"] is True


def test_a_local_folder_comes_first(stand_in, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "user" / "pair")
    pyrovae.load("user/pair")
    assert stand_in.calls == []


def test_a_download_that_links_out_is_refused(stand_in, folder, says, tmp_path):
    pyrovae.push_to_hub("user/evil", folder)
    snapshot = stand_in.root / "cache/models--user--evil/snapshots/abc"
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "README.md"):
        (snapshot / name).symlink_to(folder / name)
    with says(FolderError, "config.json", "leads out of its folder"):
        pyrovae.load("user/evil")


def test_a_pair_that_is_not_there(stand_in, says):
    with says(FolderError, "load requires the hub", "'user/none'", "404 Client Error: user/none.", "login"):
        pyrovae.load("user/none")


def test_a_hub_that_refuses(stand_in, folder, says, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("401")

    monkeypatch.setattr(hub, "create_repo", refuse)
    with says(FolderError, "push_to_hub requires the hub", "PermissionError: 401"):
        pyrovae.push_to_hub("user/pair", folder)


@pytest.mark.parametrize("name", ["pair", "a/b/c", "../pair", "user/../x", "", 3, "user/", "user/a b", "-/"], ids=str)
def test_a_name_that_is_none(name, stand_in, folder, says):
    with says(FolderError, "push_to_hub", "'user/name'"):
        pyrovae.push_to_hub(name, folder)


def test_a_folder_without_a_pair_is_not_sent(stand_in, tmp_path, says):
    for place in (tmp_path, tmp_path / "none"):
        with says(FolderError, "a folder that save wrote"):
            pyrovae.push_to_hub("user/pair", place)
    assert stand_in.calls == []


def test_without_a_network_the_error_is_typed(says, monkeypatch, tmp_path):
    """The client itself, told that there is no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with says(FolderError, "load requires the hub", "user/no-such-pair"):
        pyrovae.load("user/no-such-pair")


def test_without_the_client_the_extra_is_named(says, monkeypatch, folder, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: pyrovae.load("user/pair"), lambda: pyrovae.push_to_hub("user/pair", folder)):
        with says(MissingExtraError, "huggingface_hub", "pyrovae[hub]"):
            call()
