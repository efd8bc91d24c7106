"""A model.safetensors that anyone may have written: the tensors of the pair, finite, and no others."""

import io
import json
import pickle

import pytest
import safetensors.torch
import torch

import pyrovae


class Bomb:
    """A pickle that writes a file when it is read."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


PAIRS = {"bernoulli": 8, "vamp-prior": 10, "hierarchy-top-down": 36}
"""Pairs, and how many tensors each has."""


def names(folder):
    return [name for name in folder.tensors if not name.startswith("argument.")]


@pytest.mark.parametrize("name", ["bernoulli", *(pytest.param(name, marks=pytest.mark.slow) for name in [*PAIRS][1:])])
def test_each_weight_is_there_in_its_shape_and_type_and_finite(name, saved):
    folder = saved(name)
    whole = dict(folder.tensors)
    assert len(whole) == PAIRS[name]
    for key in whole:
        value = whole[key]
        others = {
            "missing": None,
            "a row more": torch.cat([value, value[:1]]),
            "flat": value.reshape(-1) if value.dim() > 1 else value[None],
            "empty": value[:0],
        }
        if key in names(folder):  # a constructor may be given integers
            others |= {"NaN": torch.full_like(value, torch.nan), "infinite": torch.full_like(value, torch.inf)}
            others |= {str(dtype): value.to(dtype) for dtype in (torch.double, torch.half, torch.long, torch.uint8)}
        for other in others.values():
            folder.tensors = whole | {key: other}
            if other is None:
                del folder.tensors[key]
            folder.write()
            folder.refused()
    folder.tensors = whole
    folder.write()
    pyrovae.load(folder.path)


FURTHER = [
    "model.evil",
    "guide.decoder.layers.0.weight",
    "argument.0",
    "evil",
    "",
    "../../evil",
    "model.\x1b[2J",
    "\ud800",
]


@pytest.mark.parametrize("name", FURTHER, ids=ascii)
def test_a_weight_that_the_pair_does_not_have(name, saved):
    folder = saved()
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    whole = safetensors.torch.save(folder.tensors)
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    moved = {
        key: entry | {"shape": old["shape"], "data_offsets": [place + 4 for place in old["data_offsets"]]}
        for key, old in header.items()
    }
    folder.put(listed({name: entry, **moved}, b"\0" * 4 + whole[8 + size :]))
    folder.refused()


def listed(header, data=b""):
    """A file with any list of tensors."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


FILES = {
    "nothing": b"",
    "seven bytes": b"1234567",
    "a list longer than the file": (10**6).to_bytes(8, "little") + b"{}",
    "an endless list": b"\xff" * 8 + b"{}",
    "no list": listed(b"not json"),
    "a list that is no object": listed(b"[]"),
    "a name twice": listed(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":3}', b"\0" * 4),
    "deep": listed(b'{"a":' * 2000 + b"1" + b"}" * 2000),
    "an entry that is none": listed({"a": 3}),
    "a further key": listed({"a": entry() | {"code": 1}}, b"\0" * 4),
    "no shape": listed({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, b"\0" * 4),
    "an unknown type": listed({"a": entry("F128")}, b"\0" * 4),
    "a type that is none": listed({"a": entry(["F32"])}, b"\0" * 4),
    "a negative shape": listed({"a": entry(shape=(-1, -1))}, b"\0" * 4),
    "a shape of fractions": listed({"a": entry(shape=(1.0,))}, b"\0" * 4),
    "a shape of flags": listed({"a": entry(shape=(True,))}, b"\0" * 4),
    "a huge shape": listed({"a": entry(shape=(2**40, 2**40))}, b"\0" * 4),
    "a huge shape of nothing": listed({"a": entry(shape=(2**62, 2**62, 0), offsets=(0, 0))}),
    "places beyond the end": listed({"a": entry(offsets=(0, 2**60), shape=(2**58,))}, b"\0" * 4),
    "negative places": listed({"a": entry(offsets=(-4, 0))}, b"\0" * 4),
    "places in reverse": listed({"a": entry(offsets=(4, 0))}, b"\0" * 4),
    "three places": listed({"a": entry(offsets=(0, 2, 4))}, b"\0" * 4),
    "overlapping": listed({"a": entry(), "b": entry()}, b"\0" * 8),
    "a gap": listed({"a": entry(), "b": entry(offsets=(8, 12))}, b"\0" * 12),
    "bytes after the end": listed({"a": entry()}, b"\0" * 4 + b"touch evil"),
    "other tensors": listed({"a": entry()}, b"\0" * 4),
    "no tensors": listed({}),
    "metadata alone": listed({"__metadata__": {"format": "pt"}}),
    "metadata that is none": listed({"__metadata__": 3}),
}


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_none(file, saved):
    folder = saved()
    folder.put(FILES[file])
    folder.refused("weights" if file in ("other tensors", "no tensors", "metadata alone") else "model.safetensors")


@pytest.mark.parametrize("kept", [8, 9, 100, 500, 1000, -1])
def test_a_truncated_file(kept, saved):
    folder = saved()
    whole = safetensors.torch.save(folder.tensors)
    folder.put(whole[:kept])
    folder.refused("model.safetensors is broken")


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_no_weights(protocol, saved, tmp_path):
    folder, mark = saved(), tmp_path / "pair" / "mark"
    folder.put(pickle.dumps(Bomb(mark), protocol))
    folder.refused("model.safetensors is broken")
    assert not mark.exists()


def test_a_file_of_torch_is_no_weights(saved, tmp_path):
    folder, mark, buffer = saved(), tmp_path / "pair" / "mark", io.BytesIO()
    torch.save({"model": Bomb(mark)}, buffer)
    folder.put(buffer.getvalue())
    folder.refused("model.safetensors is broken")
    assert not mark.exists()


def test_a_changed_byte_is_found(saved):
    folder = saved()
    folder.tensors["model.decoder.layers.0.weight"][0, 0] += 1
    folder.write(sealed=False)
    folder.refused("checksum")


def test_an_argument_that_no_constructor_is_given(saved):
    folder = saved("vamp-prior")
    folder.tensors["argument.1"] = torch.zeros(3)
    folder.write()
    folder.refused("'argument.1'", "no constructor")


def test_buffers_may_be_infinite_and_not_nan(saved):
    folder = saved("normal-fixed")
    assert folder.tensors["model.likelihood.unit"].shape == ()
    folder.tensors["model.likelihood.unit"] = torch.tensor(torch.inf)
    folder.write()
    pyrovae.load(folder.path)
    folder.tensors["model.likelihood.unit"] = torch.tensor(torch.nan)
    folder.write()
    folder.refused("finite weights")
