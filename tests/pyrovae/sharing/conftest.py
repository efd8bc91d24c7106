"""Folders that somebody may have sent: a saved pair, what is changed in it, and what is watched while it is loaded."""

import hashlib
import json
import resource
import sys
from contextlib import contextmanager

import pytest
import safetensors.torch
import torch

import pyrovae
from pyrovae.errors import FolderError

WATCHED = {
    "ctypes.dlopen",
    "os.chmod",
    "os.exec",
    "os.fork",
    "os.link",
    "os.mkdir",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.system",
    "os.truncate",
    "pickle.find_class",
    "shutil.rmtree",
    "socket.connect",
    "subprocess.Popen",
}
_seen: list[str] = []
_on = [False]


def _hook(event, arguments):
    if _on[0]:
        writes = event == "open" and (set(str(arguments[1] or "")) & set("wax+") or int(arguments[2] or 0) & 3)
        if event in WATCHED or writes:
            _seen.append(f"{event} {str(arguments)[:200]}")


sys.addaudithook(_hook)


@contextmanager
def watched():
    """Fails if anything inside runs code from elsewhere, writes, or takes much memory."""
    _seen.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _on[0] = True
    try:
        yield
    finally:
        _on[0] = False
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert _seen == []
    assert taken < 2**19, f"{taken:,} KiB"


class Folder:
    """A saved pair, to be changed."""

    def __init__(self, path):
        self.path = path
        self.config = json.loads((path / "config.json").read_text())
        self.tensors = safetensors.torch.load((path / "model.safetensors").read_bytes())

    def write(self, *, sealed=True):
        """Write config and weights anew; the checksum is theirs if sealed."""
        weights = safetensors.torch.save(self.tensors, {"format": "pt"})
        self.put(weights, sealed=sealed)

    def put(self, weights, *, sealed=True):
        """Write the config, and any bytes as weights."""
        if sealed and isinstance(self.config.get("weights"), dict):
            self.config["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
        (self.path / "model.safetensors").write_bytes(weights)
        (self.path / "config.json").write_text(json.dumps(self.config))

    def refused(self, *words, classes=()):
        """Loading raises a typed error, and does nothing else."""
        files = sorted(self.path.parent.rglob("*"))
        state = torch.get_rng_state()
        with watched(), pytest.raises(FolderError) as found:
            pyrovae.load(self.path, classes=classes)
        message = str(found.value)
        assert all(word in message for word in words), message
        assert len(message) < 1500
        assert message.isprintable()
        assert sorted(self.path.parent.rglob("*")) == files
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.get_default_dtype() == torch.float32


@pytest.fixture
def saved(tmp_path, all_pairs):
    """A pair of the suite as a folder."""

    def saved(name="bernoulli"):
        pair = all_pairs[name]()
        pyrovae.load(pyrovae.save(tmp_path / "pair", pair.model, pair.guide))  # whatever is imported late is now
        return Folder(tmp_path / "pair")

    return saved
