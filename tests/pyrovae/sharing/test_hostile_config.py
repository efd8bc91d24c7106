"""A config.json that anyone may have written: only listed classes are called, with plain values, in small sizes."""

import copy
import json

import pytest
import torch

import pyrovae


class Mine(torch.nn.Module):
    """A class of a reader."""

    def __init__(self, dim):
        super().__init__()
        raise RuntimeError(f"built with {dim}")


CLASSES = [
    "os.system",
    "builtins.eval",
    "builtins.open",
    "subprocess.Popen",
    "pickle.loads",
    "pathlib.Path",
    "types.FunctionType",
    "torch.load",
    "torch.hub.load",
    "torch.nn.Module",
    "torch.nn.Bilinear",
    "torch.nn.modules.linear.Linear",
    "torch.jit.ScriptModule",
    "pyrovae.data.load",
    "pyrovae.save",
    "pyrovae.inference.SVI",
    "pyrovae.models.Program.__init__",
    "pyrovae.models.vae.VAE",
    "pyrovae.networks.dense.math.prod",
    "__main__.Mine",
    "../models.VAE",
    "VAE",
    "",
    None,
    3,
    ["pyrovae.models.VAE"],
    {"object": 0},
]
CALLS = {
    "call": lambda config, name: config["objects"][2].update({"class": name}),
    "activation": lambda config, name: config["objects"][2]["arguments"].update(activation={"class": name}),
    "partial": lambda config, name: config["objects"][4]["arguments"].update(
        activation={"partial": {"class": name, "args": ["touch /tmp/evil"], "kwargs": {"dict": []}}}
    ),
}


@pytest.mark.parametrize("name", CLASSES, ids=lambda name: ascii(name)[:30])
@pytest.mark.parametrize("place", CALLS)
def test_a_class_off_the_list(place, name, saved):
    folder = saved()
    CALLS[place](folder.config, name)
    folder.write()
    folder.refused("names the class")


VALUES = [
    {"code": "print(1)"},
    {"tuple": 3},
    {"tuple": {"tuple": []}},
    {"dict": [1]},
    {"dict": [[1, 2, 3]]},
    {"dict": [[1, 2], [1, 3]]},
    {"dict": [[[], 1]]},
    {"float": "1e999"},
    {"float": 1},
    {"dtype": "load"},
    {"dtype": "float128"},
    {"dtype": ["float32"]},
    {"object": -1},
    {"object": 99},
    {"object": 5},
    {"object": True},
    {"object": 0.0},
    {"object": "0"},
    {"tensor": "model.decoder.layers.0.weight"},
    {"tensor": "argument.9"},
    {"tensor": "../../secret"},
    {"array": "argument.0"},
    {"method": "__class__", "object": 0},
    {"method": "__init__", "object": 0},
    {"method": "load_state_dict", "object": 0},
    {"method": "register_forward_hook", "object": 0},
    {"method": "apply", "object": 0},
    {"method": "loc", "object": 0},
    {"method": "a.b", "object": 0},
    {"method": None, "object": 0},
    {"scalar": "object", "value": 1},
    {"scalar": "int8", "value": 1000},
    {"scalar": "float64", "value": "1"},
    {"scalar": ["int8"], "value": 1},
    {"partial": "pyrovae.networks.MLP"},
    {"partial": {"class": "torch.nn.ReLU", "args": 3, "kwargs": {"dict": []}}},
    {"partial": {"class": "torch.nn.ReLU", "args": [], "kwargs": {"dict": [[3, 4]]}}},
    {"float": "inf", "tuple": []},
    {},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: json.dumps(value)[:40])
@pytest.mark.parametrize("place", [(0, "dim"), (2, "hidden"), (3, "decoder")], ids=str)
def test_a_value_that_is_none(place, value, saved):
    folder, (number, name) = saved(), place
    folder.config["objects"][number]["arguments"][name] = value
    folder.write()
    folder.refused()


@pytest.mark.parametrize("root", ["model", "guide", "transform", "vocabulary", "table"])
@pytest.mark.parametrize("value", [3, {"class": "pyrovae.models.VAE"}, {"object": 1}, "evil", {"tuple": []}], ids=str)
def test_a_part_that_is_another(root, value, saved):
    folder = saved()
    folder.config["roots"][root] = value
    folder.write()
    folder.refused()


HUGE = {
    "weights": ("bernoulli", 2, {"in_shape": 10**9, "out_shape": 10**9}),
    "hidden": ("bernoulli", 2, {"hidden": {"tuple": [10**9, 10**9]}}),
    "many layers": ("bernoulli", 2, {"hidden": [1] * 100_000}),
    "beyond 64 bits": ("bernoulli", 2, {"hidden": [2**31, 2**31, 2**31]}),
    "beside the weights": ("bernoulli", 0, {"dim": 2**30}),
    "a shape of 30 digits": ("bernoulli", 1, {"event_shape": 10**30}),
    "flow layers": ("flow-guide", 5, {"layers": 10**9}),
    "flow width": ("flow-guide", 5, {"hidden": [10**6, 10**6]}),
    "transformer layers": ("text-transformer", 1, {"layers": 10**9}),
    "transformer width": ("text-transformer", 1, {"width": 2**20}),
    "a vocabulary": ("text-lstm", 1, {"vocabulary": 2**40}),
    "markov start": ("deep-markov", 3, {"dim": 2**36}),
    "classes": ("semi-supervised", 3, {"classes": 2**33}),
    "an ordinal's values": ("ordinal", 1, {"values": 2**34}),
    "negative": ("bernoulli", 2, {"in_shape": -3}),
    "zero": ("bernoulli", 2, {"out_shape": 0}),
    "a fraction": ("bernoulli", 2, {"hidden": [2.5]}),
    "a text": ("bernoulli", 2, {"hidden": "999"}),
    "infinite": ("bernoulli", 2, {"hidden": [{"float": "inf"}]}),
    "none": ("bernoulli", 2, {"in_shape": None}),
    "true": ("bernoulli", 0, {"dim": True}),
}


@pytest.mark.parametrize("case", HUGE)
def test_sizes_without_the_weights(case, saved):
    name, number, arguments = HUGE[case]
    folder = saved(name)
    assert folder.config["objects"][number]["arguments"].keys() | arguments.keys()
    folder.config["objects"][number]["arguments"] |= arguments
    folder.write()
    folder.refused()


def test_layers_of_torch_without_the_weights(saved):
    folder = saved()
    for arguments in ({"num_layers": 10**9}, {"hidden_size": 10**12}, {"evil": 1}):
        layer = {"input_size": 3, "hidden_size": 3, **arguments}
        folder.config["objects"][2] = {"class": "torch.nn.LSTM", "arguments": layer}
        folder.write()
        folder.refused()


def test_containers_take_modules_alone(saved):
    folder = saved()
    for children in ([], 3, {"dict": [["a.b", {"object": 0}]]}, {"dict": [["x", 3]]}, {"dict": [[3, {"object": 0}]]}):
        folder.config["objects"][2] = {"class": "torch.nn.Sequential", "arguments": {"children": children}}
        folder.write()
        folder.refused()


def call(kind, **arguments):
    return {"class": kind, "arguments": arguments}


def twice(number):
    """A container with one module twice, so each level doubles the paths."""
    return call("torch.nn.ModuleList", children={"dict": [["0", {"object": number}], ["1", {"object": number}]]})


def twice_in_a_program(number):
    return call("pyrovae.guides.Corrupted", guide={"object": number}, corruption={"object": number})


def within(number):
    return call("torch.nn.ModuleList", children={"dict": [["0", {"object": number}]]})


@pytest.mark.parametrize(("level", "count"), [(twice, 60), (twice_in_a_program, 60), (within, 3000)])
def test_endless_paths(level, count, saved):
    folder = saved()
    objects = folder.config["objects"]
    for _ in range(count):
        objects.append(level(len(objects) - 1))
    folder.config["roots"]["guide"] = {"object": len(objects) - 1}
    folder.write()
    folder.refused("paths")


def test_endless_paths_by_replacing(saved):
    folder = saved()
    objects, replaced = folder.config["objects"], folder.config["replaced"]
    for _ in range(60):
        objects.append(twice(0))
    for number in range(len(objects) - 1, 6, -1):
        replaced += [{"object": number, "name": name, "by": number - 1} for name in "01"]
    folder.config["roots"]["guide"] = {"object": len(objects) - 1}
    folder.write()
    folder.refused("paths")


KEYS = ["format", "version", "versions", "dtype", "requires_grad", "objects", "replaced", "roots", "weights"]


@pytest.mark.parametrize("key", KEYS)
def test_an_entry_that_is_missing_or_another(key, saved):
    folder = saved()
    whole = copy.deepcopy(folder.config)
    for change in ({}, {key: None}, {key: -1}, {key: "x"}, {key: [3]}, {key: {"a": 1}}, {key: True}):
        if key == "versions" and change:
            continue  # is shown to nobody
        folder.config = {name: value for name, value in whole.items() if name != key} | change
        folder.write()
        folder.refused()


CHANGES = {
    "another version": lambda config: config.update(version=2),
    "a further entry": lambda config: config.update(auto_map={"AutoModel": "evil.Model"}),
    "a call without arguments": lambda config: config["objects"][0].pop("arguments"),
    "a call that is none": lambda config: config["objects"].insert(0, "VAE"),
    "arguments in a list": lambda config: config["objects"][0].update(arguments=[3]),
    "an argument that is unknown": lambda config: config["objects"][0]["arguments"].update(evil=1),
    "self as an argument": lambda config: config["objects"][0]["arguments"].update(self=1),
    "an argument that is missing": lambda config: config["objects"][0]["arguments"].clear(),
    "too many objects": lambda config: config["objects"].extend([config["objects"][0]] * 20_001),
    "an object twice": lambda config: config["objects"].append(config["objects"][3]),
    "replaced by a plain value": lambda config: config["replaced"].append({"object": 3, "name": "prior", "by": 1.0}),
    "replaced where nothing was": lambda config: config["replaced"].append({"object": 3, "name": "evil", "by": 0}),
    "a method replaced": lambda config: config["replaced"].append({"object": 3, "name": "forward", "by": 0}),
    "replaced by itself": lambda config: config["replaced"].append({"object": 3, "name": "prior", "by": 3}),
    "replaced by nothing": lambda config: config["replaced"].append({"object": 3}),
    "an unknown frozen weight": lambda config: config["requires_grad"].update(evil=False),
    "a frozen weight that is a number": lambda config: config["requires_grad"].update({"model.decoder": 1}),
    "another type of numbers": lambda config: config.update(dtype="float64"),
    "an unknown type of numbers": lambda config: config.update(dtype="load"),
    "no guide": lambda config: config["roots"].pop("guide"),
    "a further part": lambda config: config["roots"].update(evil=1),
    "a checksum that is none": lambda config: config["weights"].update(path="/etc/passwd"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_config_that_is_none(change, saved):
    folder = saved()
    CHANGES[change](folder.config)
    folder.write()
    if change == "an object twice":  # built, and used by nothing
        pyrovae.load(folder.path)
    else:
        folder.refused()


TEXTS = {
    "nothing": b"",
    "no JSON": b"not json",
    "a list": b"[]",
    "a number": b"3",
    "bytes": b"\xff\xfe\x00",
    "a key twice": b'{"format": "pyrovae-pair", "format": "pyrovae-pair"}',
    "NaN": b'{"version": NaN}',
    "an infinity": b'{"version": -Infinity}',
    "an endless integer": b'{"version": ' + b"9" * 5000 + b"}",
    "deep lists": b'{"objects": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep dicts": b'{"objects": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
    "many values": b'{"objects": [' + b"1," * 2_000_001 + b"1]}",
    "many bytes": b" " * (2**24 + 1),
    "a script": b"#!/bin/sh\ntouch evil\n",
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_that_is_no_config(text, saved):
    folder = saved()
    (folder.path / "config.json").write_bytes(TEXTS[text])
    folder.refused()


def test_a_class_of_the_reader_is_built_and_no_other(saved):
    """The reader lists the class; what a folder does with it is to call it with plain values."""

    folder = saved()
    folder.config["objects"][0]["class"] = "evil.Mine"
    folder.write()
    folder.refused("names the class 'evil.Mine'")
    folder.refused("Mine that cannot be built: RuntimeError: built with 3", classes=[Mine])
