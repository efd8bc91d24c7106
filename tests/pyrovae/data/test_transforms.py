"""Grey levels scaled and binarised: values, randomness, chunks, tracing, refusals."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from pyrovae.data import Binarize, Quadrants, Scale, Trim, transforms
from pyrovae.errors import DataError, SettingError, ShapeError, SupportError


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture
def grey():
    return {"x": torch.arange(256, dtype=torch.uint8).repeat(3000, 1), "y": torch.arange(3000)}


def test_scale(grey):
    scaled = Scale()(Scale().prepare(grey))
    assert scaled["x"].dtype == torch.float32
    assert torch.equal(scaled["x"][0], torch.arange(256) / 255)
    assert scaled["y"] is grey["y"]
    assert grey["x"].dtype == torch.uint8
    assert Scale()(scaled)["x"] is scaled["x"]
    assert repr(Scale()) == "Scale()"


def test_dynamic_binarisation_is_fresh_and_has_the_right_mean(grey):
    torch.manual_seed(0)
    binarize = Binarize()
    prepared = binarize.prepare(grey)
    one, two = binarize(prepared)["x"], binarize(prepared)["x"]
    assert one.dtype == torch.float32
    assert set(one.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(one, two)
    p = torch.arange(256) / 255
    error = (p * (1 - p) / 6000).sqrt()
    assert (((one + two).mean(0) / 2 - p).abs() <= 5 * error).all()  # black stays black, white white
    torch.manual_seed(0)
    assert torch.equal(binarize(prepared)["x"], one)


def test_static_binarisation_is_fixed(grey):
    binarize = Binarize("static", seed=3)
    prepared = binarize.prepare(grey)
    assert prepared["x"].dtype == torch.uint8
    assert set(prepared["x"].unique().tolist()) == {0, 255}
    assert same(prepared, binarize.prepare(grey))
    assert torch.equal(binarize(prepared)["x"], prepared["x"].float() / 255)
    assert not torch.equal(prepared["x"], Binarize("static", seed=4).prepare(grey)["x"])
    p = torch.arange(256) / 255
    error = (p * (1 - p) / 3000).sqrt()
    assert ((binarize(prepared)["x"].mean(0) - p).abs() <= 5 * error).all()


@pytest.mark.parametrize("rows_at_a_time", [1, 7, 1000, 5000])
def test_static_binarisation_does_not_depend_on_chunks(grey, monkeypatch, rows_at_a_time):
    x = grey["x"][:2000]
    expected = Binarize("static").prepare({"x": x})["x"]
    monkeypatch.setattr(transforms, "ROWS", rows_at_a_time)
    assert torch.equal(Binarize("static").prepare({"x": x})["x"], expected)
    assert torch.equal(Binarize("static").prepare({"x": x[:1111]})["x"], expected[:1111])
    assert torch.equal(Binarize("static").prepare({"x": x / 255})["x"], expected)


def test_threshold(grey):
    binarize = Binarize("threshold")
    prepared = binarize.prepare(grey)
    assert prepared["x"].dtype == torch.uint8
    assert torch.equal(binarize(prepared)["x"][0], (torch.arange(256) > 127).float())


@pytest.mark.parametrize("mode", ["dynamic", "static", "threshold"])
def test_an_empty_split_can_be_prepared(mode):
    empty = {"x": torch.zeros(0, 1, 4, 4, dtype=torch.uint8)}
    for transform in (Scale(), Binarize(mode)):
        assert transform(transform.prepare(empty))["x"].shape == (0, 1, 4, 4)


@pytest.mark.parametrize(("wrong", "right"), [("dinamic", "dynamic"), ("treshold", "threshold"), (None, "")])
def test_an_unknown_mode(wrong, right, says):
    with says(DataError, "dynamic, static, threshold", repr(wrong), f"Binarize(mode='{right}"):
        Binarize(wrong)


@pytest.mark.parametrize("mode", ["dynamic", "static", "threshold"])
@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.tensor([[0.0, 1.5]]), ["[0, 1]", "0 to 1.5"]),
        (torch.tensor([[-0.5, 1.0]]), ["-0.5 to 1"]),
        (torch.tensor([[0.5, torch.nan]]), ["nan"]),
        (torch.tensor([[0, 255]]), ["int64"]),
        (torch.tensor([[0, 1]], dtype=torch.uint8), ["binary already", "float32"]),
    ],
)
def test_binarize_refuses_what_is_no_grey_level(mode, x, words, says):
    with says(SupportError, *words):
        Binarize(mode).prepare({"x": x})


@pytest.mark.parametrize("transform", [Scale(), *(Binarize(m) for m in ("dynamic", "static", "threshold"))])
def test_what_is_prepared_stays_as_it_is(grey, transform):
    """Every tool prepares its data, so data that were prepared by hand, whole or in part, come out unchanged."""
    prepared = transform.prepare(grey)
    assert same(transform.prepare(prepared), prepared)
    some = {name: tensor[7:9] for name, tensor in prepared.items()}
    assert same(transform.prepare(some), some)


def test_grey_levels_that_were_not_prepared_are_no_static_draw(grey, says):
    for x in (grey["x"], grey["x"] / 255):
        with says(SupportError, "requires a prepared batch", "transform.prepare(data)"):
            Binarize("static")({"x": x})


def test_a_threshold_is_the_same_prepared_or_not(grey):
    binarize = Binarize("threshold")
    assert same(binarize(grey), binarize(binarize.prepare(grey)))


@pytest.mark.parametrize("mode", ["dynamic", "static", "threshold"])
def test_binarize_requires_x(mode, says):
    for run in (Binarize(mode).prepare, Binarize(mode)):
        with says(DataError, "named 'x'", "'w'"):
            run({"w": torch.zeros(2, 3)})


@pytest.mark.parametrize("seed", [-1, 2**40, 1.5, None])
def test_a_seed_without_a_meaning(seed, says):
    with says(SettingError, "seed requires a whole number"):
        Binarize("static", seed=seed)


@pytest.mark.parametrize("transform", [Scale(), *(Binarize(m) for m in ("dynamic", "static", "threshold"))])
def test_transforms_can_be_traced(transform):
    batch = {"x": torch.arange(12, dtype=torch.uint8).reshape(3, 4) * 20, "y": torch.arange(3)}
    prepared = transform.prepare(batch)
    graph = make_fx(transform, tracing_mode="fake")(prepared)
    torch.manual_seed(1)
    expected = transform(prepared)
    torch.manual_seed(1)
    assert same(graph(prepared), expected)
    with FakeTensorMode() as fake:
        out = transform({key: fake.from_tensor(value) for key, value in prepared.items()})
    assert out["x"].shape == (3, 4)
    assert out["x"].dtype == torch.float32


def test_transforms_are_values():
    assert Binarize("static", 1) == Binarize(mode="static", seed=1)
    assert repr(Binarize()) == "Binarize(mode='dynamic', seed=0)"


def test_a_batch_without_x_is_scaled_to_itself():
    batch = {"w": torch.randint(256, (3, 2), dtype=torch.uint8)}
    assert Scale()(batch) is batch
    assert Scale().prepare(batch) == batch


@pytest.mark.parametrize("transform", [Scale(), Binarize(), Quadrants(), Trim()])
def test_a_batch_is_named_tensors(transform, says):
    for wrong in (None, 3, "x", [torch.zeros(2, 3)], {"x": None}, {"x": [1, 2]}):
        with says(DataError, type(transform).__name__, "requires"):
            transform.prepare(wrong)
    with pytest.raises((DataError, ShapeError)):
        transform.prepare({"x": torch.tensor(0.5)})
