"""Files of a run folder with any bytes: each is used, or left out by one typed sentence."""

import json
import math
import os
import random

import pytest
from PIL import Image

from pyrovae.errors import CheckpointError
from pyrovae.report.files import RunFiles, picture, read
from pyrovae.report.folder import report_folder

NAMES = ("metrics.json", "summary.json", "config.json")
ROW = {"epoch": 1, "step": 8, "lr": 1e-3, "loss": 5.0, "train_elbo": -5.0, "elbo": -6.0, "rate": 1.0, "distortion": 5.0}
ROW |= {"train_rate": 0.5, "train_distortion": 4.5}
SUMMARY = {"data": "digits", "epochs": 2, "seconds": 3.5, "machine": {"device": "cpu"}, "arguments": {"lr": "0.001"}}
SUMMARY |= {"elbo": {"value": -6.0, "error": 0.1}}
STRANGE = [None, True, [], {}, "x", "\ud800", "\0", -1, 1e308, -1e308, math.nan, math.inf, 10**400, [[]], {"a": {}}]


def whole(folder):
    """A run folder whose files are as `fit` and the examples write them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps([ROW, ROW | {"epoch": 2}]))
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    (folder / "config.json").write_text(json.dumps({"model": "VAE(\n)", "guide": "NormalGuide()"}))
    return folder


def test_a_whole_folder_is_read_as_it_was_written(tmp_path):
    files = RunFiles.of(whole(tmp_path))
    assert files.broken == ()
    assert files.summary == SUMMARY
    assert files.metrics[1]["epoch"] == 2
    assert files.metrics[0] == {name: ROW[name] for name in ROW if name not in ("step", "lr")}
    assert files.config["guide"] == "NormalGuide()"


def test_an_empty_folder_is_empty(tmp_path):
    files = RunFiles.of(tmp_path)
    assert (files.summary, files.metrics, files.config, files.broken) == ({}, [], {}, ())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"\0" * 99, b"[" * 100_000, b'{"a":' * 100_000], ids=len)
def test_bytes_that_are_no_json_are_named_and_left_out(name, content, tmp_path):
    (whole(tmp_path) / name).write_bytes(content)
    files = RunFiles.of(tmp_path)
    assert [name in sentence for sentence in files.broken] == [True]
    assert all("\n" not in sentence and len(sentence) < 400 for sentence in files.broken)
    assert len([x for x in (files.summary, files.metrics, files.config) if not x]) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_link_a_folder_a_pipe_and_a_file_without_end_are_not_read(name, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text('[{"epoch": 1, "loss": 1}]' if name == "metrics.json" else "{}")
    run = whole(tmp_path / "run")
    for put in (lambda path: path.symlink_to(secret), lambda path: path.mkdir(), os.mkfifo, huge):
        (run / name).unlink()
        put(run / name)
        (sentence,) = RunFiles.of(run).broken
        assert name in sentence
        if (run / name).is_dir():
            (run / name).rmdir()
            (run / name).touch()


def huge(path):
    with path.open("wb") as file:
        file.truncate(2**40)


def test_a_file_that_vanishes_is_a_typed_error(says, tmp_path):
    with says(CheckpointError, "'gone.json' cannot be read"):
        read(tmp_path / "gone.json")


@pytest.mark.parametrize(
    "rows",
    [
        {"epoch": 1},
        [1, 2],
        [{"epoch": 1}],
        [{"loss": 1.0}],
        [{"epoch": True, "loss": 1.0}],
        [{"epoch": math.nan, "loss": 1.0}],
        [{"epoch": 1e300, "loss": 1.0}],
        [{"epoch": 10**400, "loss": 1.0}],
        [{"epoch": 1, "loss": "</script>"}],
        [{"epoch": 1, "loss": 1.0, "elbo": 1.0}],
        [ROW, {"epoch": 2, "loss": 1.0}],
    ],
    ids=repr,
)
def test_rows_that_are_no_history_are_left_out(rows, tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(rows))
    files = RunFiles.of(tmp_path)
    assert files.metrics == []
    assert "'metrics.json' is broken" in files.broken[0]


def test_training_data_that_some_epochs_lack_are_no_column(tmp_path):
    """Rate and distortion of training data are absent in an epoch in which they were not finite."""
    lacking = {name: value for name, value in ROW.items() if name != "train_rate"}
    for rows in ([ROW, lacking], [lacking, ROW]):
        (tmp_path / "metrics.json").write_text(json.dumps(rows))
        files = RunFiles.of(tmp_path)
        assert files.broken == ()
        assert [set(ROW) - set(row) for row in files.metrics] == [{"step", "lr", "train_rate"}] * 2


def test_huge_losses_count_as_infinite(tmp_path):
    rows = [ROW | {"loss": value} for value in (1e101, -(10**400), math.nan, math.inf)]
    (tmp_path / "metrics.json").write_text(json.dumps(rows))
    losses = [row["loss"] for row in RunFiles.of(tmp_path).metrics]
    assert losses == [math.inf, -math.inf, pytest.approx(math.nan, nan_ok=True), math.inf]


def mutated(draw, value):
    """The value with one part of it, at any depth, replaced by something strange, or left out."""
    if isinstance(value, dict) and value and draw.random() < 0.8:
        name = draw.choice(list(value))
        return {k: mutated(draw, v) if k == name else v for k, v in value.items() if k != name or draw.random() < 0.9}
    if isinstance(value, list) and value and draw.random() < 0.8:
        place = draw.randrange(len(value))
        return [mutated(draw, v) if i == place else v for i, v in enumerate(value)]
    return draw.choice([*STRANGE, "9" * 5000, [value] * 3, {"__proto__": value, "</script>": value}])


def crafted(draw, name):
    """The bytes of a file of a run, as somebody who means harm would write them."""
    value = {"metrics.json": [ROW, ROW], "summary.json": SUMMARY, "config.json": {"model": "m", "guide": "g"}}.get(name)
    content = json.dumps(mutated(draw, value)).encode()
    match draw.randrange(4):
        case 0:
            return content[: draw.randrange(len(content) + 1)]
        case 1:
            place = draw.randrange(len(content))
            return content[:place] + draw.randbytes(1) + content[place + 1 :]
        case 2:
            return content.replace(b"1", b"9" * draw.choice([1, 400, 5000]))
    return content


def test_a_page_is_written_of_three_hundred_crafted_folders(tmp_path, content):
    draw = random.Random(0)
    said = 0
    for number in range(300):
        run = whole(tmp_path / str(number))
        for name in draw.sample(NAMES, draw.randint(1, len(NAMES))):
            (run / name).write_bytes(crafted(draw, name))
        path, files = report_folder(run)
        page = content(path)
        titles = [section["title"] for section in page["sections"]]
        assert ("Files that are left out" in titles) == bool(files.broken)
        assert ("Training" in titles) == bool(files.metrics)
        assert path.read_text().count("</script>") == 2
        said += len(files.broken)
    assert 100 < said < 600


def test_a_picture_is_decoded_and_written_anew(tmp_path, sheet):
    path = tmp_path / "curves.png"
    Image.new("RGB", (3, 2), (255, 0, 0)).save(path)
    path.write_bytes(path.read_bytes() + b"<script>hidden</script>")
    address = picture(path)
    assert sheet({"source": address}).tolist() == [[[255, 0, 0]] * 3] * 2
    Image.new("L", (5000, 10)).save(path)
    assert sheet({"source": picture(path)}).shape[1] == 1200


def test_a_picture_of_another_kind_is_refused(says, tmp_path):
    path = tmp_path / "cat.png"
    for content in (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage",
        b"<svg onload='x()'/>",
        b"\x89PNG\r\n",
    ):
        path.write_bytes(content)
        with says(CheckpointError, "cat.png", "is no picture"):
            picture(path)
    Image.new("L", (20_000, 20_000)).save(path)
    with says(CheckpointError, "cat.png", "is no picture"):
        picture(path)
