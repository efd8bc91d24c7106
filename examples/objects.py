"""Attend, infer, repeat: how many digits are on a canvas, where each is, and what it looks like.

python examples/objects.py                                  10,000 canvases of real digits, offline
python examples/objects.py --objective score --particles 4  the gradient of the number by the score function
python examples/objects.py --data mnist --canvases 60000    the digits of MNIST

p(n) prod_i p(where_i) p(what_i) p(x | sum_i place(decoder(what_i), where_i)), with at most 3 objects; the canvases have
0, 1 or 2. Their numbers are known to the score alone.

Data: 5,000 real digits, offline. Time: 2 min of one core.
"""

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae import data, plots
from pyrovae.display import plus_minus
from pyrovae.errors import DataError
from pyrovae.examples._shared import (
    Row,
    Trained,
    load_data,
    main,
    parser,
    save_picture,
    score,
    train,
    values,
    write_pictures,
    write_summary,
)
from pyrovae.guides import ObjectsGuide
from pyrovae.inference import Enumerated, Objective, ScoreFunction, decode, encode
from pyrovae.models import ObjectsVAE, likelihoods, priors
from pyrovae.networks import MLP, Attention, box

OBJECTIVES: dict[str, Callable[[int], Objective]] = {"enumerated": Enumerated, "score": ScoreFunction}
"""The objective of each name, by the number of draws."""

SHOWN = 16
"""Canvases in the picture of boxes."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/objects", epochs=10)
    p.set_defaults(batch_size=64, lr=2e-3, schedule="cosine", num_samples=100)
    p.add_argument("--canvases", type=values.positive_int, default=10_000, help="number of canvases to train on")
    p.add_argument("--tested", type=values.positive_int, default=5_000, help="number of canvases to test on")
    p.add_argument("--side", type=values.positive_int, default=50, help="pixels of the side of a canvas")
    p.add_argument("--most", type=values.whole, default=2, help="largest number of digits on a canvas")
    p.add_argument("--steps", type=values.positive_int, default=3, help="largest number of objects of the model, N")
    p.add_argument("--success", type=values.below_one, default=0.1, help="chance of a further object, a priori")
    p.add_argument("--objective", choices=OBJECTIVES, default="enumerated", help="gradient of the number of objects")
    p.add_argument("--particles", type=values.positive_int, default=1, help="draws for each number, or in all")
    p.add_argument("--latent", type=values.positive_int, default=20, help="dimension of what")
    p.add_argument("--hidden", type=values.integers, default=[128, 128], help="widths of the dense layers")
    p.add_argument("--channels", type=values.integers, default=[8, 16, 32], help="channels of the locator")
    p.add_argument("--glimpse", type=values.positive_int, default=20, help="pixels of the side of a glimpse")
    p.add_argument("--scale", type=values.positive, default=0.3, help="standard deviation of a pixel")
    p.add_argument("--object-size", type=values.positive, default=0.5, help="side of an object, canvas = 1, a priori")
    return p.parse_args(argv)


def scattered(flags: argparse.Namespace) -> data.Dataset:
    """Canvases of the digits of each split; the digits of the test canvases are those of no other split."""
    digits = load_data(flags, kind="images")
    sizes = {"train": flags.canvases, "valid": 500, "test": flags.tested}
    splits: dict[str, Any] = {
        name: data.canvases(split["x"], sizes[name], side=flags.side, most=flags.most, seed=flags.seed + number)
        for number, (name, split) in enumerate(digits.splits.items())
        if len(split["x"])
    }
    if len(splits) < len(sizes):
        raise DataError(
            f"This example requires digits in each split of {flags.data}, got none in one. Write --valid 500."
        )
    found = replace(digits, **splits, name=f"canvases of {digits.name}", classes=None, origin=None)
    print(f"        {found.describe()}")
    return found


def pair(flags: argparse.Namespace, shape: tuple[int, ...]) -> tuple[ObjectsVAE, ObjectsGuide]:
    """Model and guide; objects start dark, and the looks start at where the attention is."""
    object_shape = (shape[0], flags.glimpse, flags.glimpse)
    network = MLP(flags.latent, object_shape, flags.hidden[::-1])
    network.start_at(torch.full(object_shape, -2.0))
    size, spread = math.log(flags.object_size), 0.4
    model = ObjectsVAE(
        priors.Geometric(flags.steps, flags.success),
        priors.Normal([size, 0.0, 0.0], [0.1, spread, spread]),
        priors.StandardNormal(flags.latent),
        likelihoods.Normal(shape, scale=flags.scale),
        nn.Sequential(network, nn.Sigmoid()),
    )
    encoder = MLP(object_shape, 2 * flags.latent, flags.hidden)
    return model, ObjectsGuide(model, locator(flags, shape, 1 / spread), encoder, object_shape)


def locator(flags: argparse.Namespace, shape: tuple[int, ...], units: float) -> Attention:
    """A locator whose places start at those of its attention, with small scales."""
    network = Attention(shape, 7, flags.channels)
    weight, bias = network.head.weight, network.head.bias
    with torch.no_grad():
        weight.mul_(0.1)
        weight[2, -2] = weight[3, -1] = units  # x and y, in units of the prior's scale
        bias.copy_(torch.tensor([0.0, 0, 0, 0, -2, -2, -2]))
    return network


def counts(trained: Trained) -> tuple[Tensor, Tensor]:
    """The most probable number of objects on each test canvas, and the true one."""
    pres = encode(trained.model, trained.guide, trained.test, transform=trained.transform)["z_pres"]
    return pres.sum(-1).long().cpu(), trained.test["count"].cpu()


def accuracy(found: Tensor, true: Tensor) -> tuple[list[Row], dict[str, Any]]:
    """The rows of the accuracy, and the entries of the files."""
    right = (found == true).double()
    share, error = right.mean().item(), math.sqrt(right.var(correction=0).item() / len(right))
    each = {number: right[true == number].mean().item() for number in sorted(set(true.tolist()))}
    shown = ", ".join(f"{100 * value:.1f} % of {number}" for number, value in each.items())
    rows = [Row("count", f"{plus_minus(100 * share, 100 * error)} %", f"right on {len(true):,} test canvases: {shown}")]
    return rows, {"count_accuracy": share, "count_accuracy_error": error, "count_accuracy_of": each}


def draw(trained: Trained, flags: argparse.Namespace) -> None:
    """Write canvases with the boxes of the objects that were found, over the reconstructions."""
    few = {name: tensor[:SHOWN].to(trained.device) for name, tensor in trained.test.items()}
    batch = trained.transform(few)
    codes = encode(trained.model, trained.guide, batch)
    again = decode(trained.model, codes)
    found = box(codes["z_where"], batch["x"].shape[1:])
    save_picture(plots.boxes(batch["x"], again, found, codes["z_pres"]), flags.out, "objects")


def script(flags: argparse.Namespace) -> None:
    """Train, score, count, draw."""
    torch.manual_seed(flags.seed)
    dataset = scattered(flags)
    model, guide = pair(flags, tuple(dataset.train["x"].shape[1:]))
    trained = train(model, guide, data.Scale(), dataset, flags, loss=OBJECTIVES[flags.objective](flags.particles))
    rows, entries = accuracy(*counts(trained))
    write_summary(trained, score(trained, flags), flags, rows=rows, entries=entries)
    write_pictures(trained, flags.out)
    draw(trained, flags)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
