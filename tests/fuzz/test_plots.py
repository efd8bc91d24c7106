"""Pictures of any tensors."""

import inspect

import pytest
import torch

from pyrovae import plots

plt = pytest.importorskip("matplotlib.pyplot")

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Z, LABELS = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])
RANKS = torch.arange(18).reshape(9, 2) % 10
ROWS = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5}]


def names(k, *good):
    return k.Kind(
        k.sampled(*good), k.sampled([], (), (1, 2), ["a"] * 9), k.sampled("x", 3, b"3", 3 + 4j, object(), int)
    )


OWN = {
    "attribute": lambda k: {"images": k.tensor(IMAGES.reshape(2, 3, 1, 4, 4)), "strengths": k.any_of([-1, 0, 1])},
    "curves": lambda k: {
        "rows": k.Kind(k.sampled(ROWS, []), k.sampled(None, True), k.sampled("x", 3, [3], [{}], [{"epoch": "x"}]))
    },
    "grid": lambda k: {"images": k.tensor(IMAGES), "columns": k.count(1, 9)},
    "heat": lambda k: {"values": k.tensor(Z), "rows": names(k, list("abcdef")), "columns": names(k, ["a", "b"])},
    "latent_map": lambda k: {"mean": k.tensor(Z), "y": k.tensor(LABELS), "classes": names(k, None, ["a", "b", "c"])},
    "manifold": lambda k: {"images": k.tensor(IMAGES[:4]), "extent": k.real(0.5, 3.0)},
    "mosaic": lambda k: {"images": k.tensor(IMAGES), "columns": k.count(), "gap": k.count(0)},
    "paths": lambda k: {"images": k.tensor(IMAGES.reshape(2, 3, 1, 4, 4))},
    "ranks": lambda k: {
        "ranks": k.tensor(torch.randint(10, (9, 2))),
        "num_samples": k.any_of(9),
        "num_bins": k.count(2, 9),
    },
    "reconstructions": lambda k: {
        "originals": k.tensor(IMAGES),
        "reconstructed": k.tensor(IMAGES),
        "columns": k.count(),
    },
}


@pytest.mark.parametrize("name", OWN)
def test_pictures(name, kinds, fuzz):
    function, own = getattr(plots, name), OWN[name](kinds)
    names = inspect.signature(function).parameters
    arguments = {given: kind for given, kind in own.items() if given in names}

    def drawn(**given):
        try:
            return function(**given)
        finally:
            plt.close("all")

    case = kinds.case(function, **arguments, examples=12)
    fuzz(
        case._replace(name=f"plots.{name}", call=drawn, arguments={n: k for n, k in case.arguments.items() if n in own})
    )
