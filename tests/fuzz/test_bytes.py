"""Files with any bytes: data files, and every file that a run folder holds.

A changed file is read as it was, or as something finite, or refused by an error of `pyrovae.errors`.
"""

import io
import json
import random
import shutil

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from PIL import Image

from pyrovae import data
from pyrovae.guides import NormalGuide
from pyrovae.inference import fit, load_weights
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks import MLP
from pyrovae.report import report_folder

ROWS = np.arange(120, dtype=np.float32).reshape(30, 4)
PIXELS = np.arange(30 * 36).reshape(30, 6, 6) % 256


def written(save, *args, **named):
    file = io.BytesIO()
    save(file, *args, **named)
    return file.getvalue()


TABLE = "a,b,c\n" + "".join(f"{i},{i % 7},{i / 2}\n" for i in range(30))
LINES = "\n".join(f"the {a} sees the {b}" for a in ("cat", "dog", "fox") for b in ("hen", "cow", "pig", "bee")) + "\n"

FILES = {
    "rows.npy": written(np.save, ROWS),
    "pixels.npy": written(np.save, PIXELS.astype(np.uint8)),
    "arrays.npz": written(np.savez, x=PIXELS.astype(np.uint8), y=np.arange(30) % 3),
    "packed.npz": written(np.savez_compressed, x=ROWS),
    "table.csv": TABLE.encode(),
    "words.txt": LINES.encode(),
}

WORDS = [b"NaN", b"inf", b"1e999", b"-1", b"9" * 30, b"<U9", b"{", b"(", b",", b";", b'"']
PIECES = [*WORDS, b"\0", b"\xff" * 8, b"\n", b"\xef\xbb\xbf"]
HOW = ["flip", "flip", "flip", "cut", "put", "drop", "double"]


def several(number):
    """What happens to a file, by a number: how, where as a share of its length, and with which bytes."""
    draw = random.Random(number)
    return [(draw.choice(HOW), draw.random(), draw.choice(PIECES)) for _ in range(draw.choice([1, 1, 1, 2, 3]))]


# One number for each example: Hypothesis would choose many small places, and the same ones again.
CHANGES = st.integers(0, 2**32).map(several)


def changed(content, changes):
    for how, share, piece in changes:
        at = int(share * len(content))
        match how:
            case "cut":
                content = content[:at]
            case "flip":
                content = (
                    content[:at]
                    + bytes(byte ^ (1 << len(piece) % 8) for byte in content[at : at + 1])
                    + content[at + 1 :]
                )
            case "put":
                content = content[:at] + piece + content[at:]
            case "drop":
                content = content[:at] + content[at + 9 :]
            case "double":
                content += content[at:]
    return content


@pytest.fixture
def read(kinds, fuzz):
    """Fuzz a reader of changed bytes: `read(name, content, reader, right)`."""

    def start(name, content, reader, right=lambda result: True, examples=60):
        def check(drawn):
            changes = drawn.draw(CHANGES, label="changes")
            mutated = changed(content, changes)
            happened, result = kinds.outcome(lambda: reader(mutated))
            if happened == "" and not right(result):
                happened = "Wrong"
            if happened not in ("", "refused"):
                kinds.report(name, "bytes", happened, changes, result)

        assert kinds.outcome(lambda: reader(content))[0] == ""
        fuzz(check=check, examples=examples)

    return start


@pytest.mark.parametrize("name", FILES)
def test_data_files(name, read, kinds, tmp_path):
    def reader(content):
        path = tmp_path / name
        path.write_bytes(content)
        dataset = data.load(path)
        return {split: dict(getattr(dataset, split)) for split in ("train", "valid", "test")}

    read(name, FILES[name], reader, kinds.finite)


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "gif", "tiff", "webp"])
def test_images(kind, read, tmp_path):
    picture = Image.fromarray(PIXELS[0].astype(np.uint8))
    content = written(picture.convert("RGB").save, format=kind)
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(written(picture.save, format="png"))

    def reader(content):
        (tmp_path / "0.png").write_bytes(content)
        return data.load(f"folder:{tmp_path}", size=6, valid=1, test=1)

    read(f"folder:{kind}", content, reader, examples=15)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A pair, its data, and a run folder of two epochs."""
    torch.manual_seed(0)
    run = tmp_path_factory.mktemp("fuzz") / "run"
    model, guide, rows = pair()
    fit(model, guide, rows, valid=rows, epochs=2, run=run, compile=False, progress=False)
    return model, run


def pair():
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(3, 0.5), MLP(2, (3,), [4]))
    return model, NormalGuide(MLP((3,), 4, [4])), {"x": torch.linspace(-1, 1, 24).reshape(8, 3)}


def test_checkpoints_are_loaded_as_they_were_or_refused(trained, read, tmp_path):
    before, run = trained

    def reader(content):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        model, guide, _ = pair()
        load_weights(model, guide, tmp_path)
        return model

    def same(model):
        states = model.state_dict(), before.state_dict()
        return all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))

    read("checkpoint.pt", (run / "checkpoint.pt").read_bytes(), reader, same, examples=120)


def test_a_run_with_a_changed_checkpoint_goes_on_as_it_would_or_is_refused(trained, read, tmp_path):
    _, run = trained

    def reader(content):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(run, tmp_path / "run")
        (tmp_path / "run" / "checkpoint.pt").write_bytes(content)
        model, guide, rows = pair()
        options = {"valid": rows, "run": tmp_path / "run", "resume": True, "compile": False, "progress": False}
        return fit(model, guide, rows, epochs=3, **options).rows

    rows = reader((run / "checkpoint.pt").read_bytes())
    read("resume", (run / "checkpoint.pt").read_bytes(), reader, lambda result: result == rows, examples=40)


@pytest.mark.parametrize("name", ["metrics.json", "summary.json", "config.json", "metrics.csv"])
def test_other_files_of_a_run(name, trained, read, tmp_path):
    """The page of a run folder names a broken file; nothing else is read from it."""
    _, run = trained
    shutil.copytree(run, tmp_path / "run")
    summary = {"data": "digits", "seconds": 2.0, "elbo": {"value": -3.0, "error": 0.1}, "arguments": {"lr": "0.1"}}
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary | {"command": "pyrovae vae"}))
    path = tmp_path / "run" / name

    def reader(content):
        path.write_bytes(content)
        return report_folder(tmp_path / "run")[0].read_text()

    read(name, path.read_bytes(), reader, lambda page: page.count("</script>") == 2)
