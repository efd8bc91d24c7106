"""A conditional variational autoencoder, p(x | z, y) p(z | y), of real digits; y is a label, or a part of the image.

python examples/conditional_vae.py                              y is the label: sevens on demand, styles transferred
python examples/conditional_vae.py --digit 3                    threes on demand
python examples/conditional_vae.py --task quadrants --seen 1    y is a quadrant of the image, x the rest

Data: 5,000 real digits, offline. Time: 30 s of one core.
"""

import argparse
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from pyrovae import data, plots
from pyrovae.errors import DataError
from pyrovae.examples._shared import (
    DefaultFolder,
    Row,
    Trained,
    add_binarize,
    load_data,
    main,
    parser,
    save_picture,
    score,
    train,
    values,
    write_summary,
)
from pyrovae.guides import ConditionalGuide, NormalGuide
from pyrovae.inference import decode, encode, generate
from pyrovae.models import ConditionalNormal, ConditionalVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

Build = Callable[[argparse.Namespace, data.Batch], tuple[ConditionalVAE, ConditionalGuide, data.Transform]]
"""Builds model, guide and transform by the flags and the training data."""

OUT = {"labels": "runs/conditional_vae", "quadrants": "runs/conditional_vae_quadrants"}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out=OUT["labels"], epochs=40)
    p.add_argument("--task", choices=OUT, default="labels", help="what y is: a label, or the part of an image seen")
    p.add_argument("--seen", type=int, choices=(1, 2, 3), default=1, help="number of quadrants seen, for quadrants")
    digit = "the label to generate on demand, for labels; by default 7, or the last one where there are fewer"
    p.add_argument("--digit", type=values.whole, help=digit)
    p.add_argument(
        "--hidden", type=values.integers, default=[400], help="widths of the dense layers, for example 500,500"
    )
    p.add_argument("--latent", type=values.positive_int, default=20, help="latent dimension")
    add_binarize(p)
    task = p.parse_known_args(argv)[0].task
    p.set_defaults(out=DefaultFolder(OUT[task]), **({"epochs": 30, "patience": 5} if task == "quadrants" else {}))
    return p.parse_args(argv)


def pair_given_labels(
    flags: argparse.Namespace, split: data.Batch
) -> tuple[ConditionalVAE, ConditionalGuide, data.Binarize]:
    """p(z) p(x | z, y): a style that is independent of the label, binarised pixels."""
    if "y" not in split:
        raise DataError(f"--task labels requires labels, {flags.data!r} has none. Write --task quadrants.")
    shape, classes = tuple(split["x"].shape[1:]), num_classes(split)
    likelihood = likelihoods.Bernoulli(shape)
    decoder = JointMLP([flags.latent, classes], likelihood.params_shape, flags.hidden[::-1])
    decoder.start_at(likelihood.start(data.excerpt(split["x"])))
    encoder = JointMLP([shape, classes], 2 * flags.latent, flags.hidden)
    for network in (decoder, encoder):
        network.emphasise(1, 8.0)  # so that codes learn to leave the class to y
    model = ConditionalVAE(priors.StandardNormal(flags.latent), likelihood, decoder)
    return model, ConditionalGuide(NormalGuide(encoder)), data.Binarize(flags.binarize, seed=flags.seed)


def pair_given_quadrants(
    flags: argparse.Namespace, split: data.Batch
) -> tuple[ConditionalVAE, ConditionalGuide, data.Quadrants]:
    """p(z | y) p(x | z, y): y the grey pixels seen, x those to predict, under the cross-entropy of the tutorials."""
    transform = data.Quadrants(flags.seen)
    parts = transform(transform.prepare({"x": split["x"][:1000]}))
    rest, seen = parts["x"].shape[1], parts["y"].shape[1]
    likelihood = likelihoods.Bernoulli(rest, relaxed=True)
    prior = ConditionalNormal(MLP(seen, 2 * flags.latent, flags.hidden))
    decoder = JointMLP([flags.latent, seen], rest, flags.hidden[::-1])
    decoder.start_at(likelihood.start(parts["x"]))
    encoder = JointMLP([rest, seen], 2 * flags.latent, flags.hidden)
    return ConditionalVAE(prior, likelihood, decoder), ConditionalGuide(NormalGuide(encoder)), transform


def num_classes(split: data.Batch) -> int:
    """The number of labels, which count from 0."""
    return int(split["y"].max()) + 1


def draw_labels(trained: Trained, flags: argparse.Namespace) -> None:
    """One label on demand, all labels in the same styles, and the styles of test digits under all labels."""
    model, classes = trained.model, num_classes(trained.data.train)
    digit = min(7, classes - 1) if flags.digit is None else flags.digit
    on_demand = generate(model, 50, given={"y": torch.full((50,), digit, device=trained.device)})
    title = f"the mean of p(x | z, y = {digit}), z ~ p(z)"
    save_picture(plots.grid(on_demand, title=title), flags.out, "on_demand")
    styles = torch.randn(10, flags.latent, generator=torch.Generator().manual_seed(0)).to(trained.device)
    rows = plots.paths(by_label(trained, styles, classes), title="one code per row, all labels")
    save_picture(rows, flags.out, "styles")
    batch = trained.transform({name: tensor[:10].to(trained.device) for name, tensor in trained.test.items()})
    codes = encode(model, trained.guide, batch)["z"]
    transferred = torch.cat([batch["x"].unsqueeze(1), by_label(trained, codes, classes)], 1)
    rows = plots.paths(transferred, title="a test digit, then its style under all labels")
    save_picture(rows, flags.out, "style_transfer")


def by_label(trained: Trained, z: Tensor, classes: int) -> Tensor:
    """Each code `(R, D)` decoded under each label: `(R, K, C, H, W)`."""
    y = torch.arange(classes, device=z.device).repeat(len(z))
    images = decode(trained.model, {"z": z.repeat_interleave(classes, 0)}, given={"y": y})
    return images.unflatten(0, (len(z), classes))


def draw_completions(trained: Trained, flags: argparse.Namespace, transform: data.Quadrants) -> None:
    """Test digits: what is seen, four completions, the whole."""
    parts = transform({name: part[:10].to(trained.device) for name, part in trained.test.items()})
    shape = tuple(trained.data.test["x"].shape[1:])
    seen = transform.join(torch.full_like(parts["x"], 0.5), parts["y"], shape)
    drawn = [generate(trained.model, len(seen), given={"y": parts["y"]}, seed=seed) for seed in range(4)]
    columns = [seen, *(transform.join(x, parts["y"], shape) for x in [*drawn, parts["x"]])]
    title = "what is seen, four completions, the truth"
    save_picture(plots.paths(torch.stack(columns, 1), title=title), flags.out, "completions")


def script(flags: argparse.Namespace) -> None:
    """Train, score, draw."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags, kind="images")
    if flags.task == "labels" and flags.digit is not None and flags.digit >= (classes := num_classes(dataset.train)):
        raise DataError(f"--digit requires a label from 0 to {classes - 1}, got {flags.digit}. Write --digit 0.")
    pair: Build = pair_given_quadrants if flags.task == "quadrants" else pair_given_labels
    trained = train(*pair(flags, dataset.train), dataset, flags)
    measured = score(trained, flags)
    unit = "nats per data point, x alone given y"
    rows = [Row.of("-log p(x|y)", measured.log_evidence.scaled(-1), unit)]
    write_summary(trained, measured, flags, rows=rows)
    save_picture(plots.curves(trained.history.rows), flags.out, "curves")
    if flags.task == "quadrants":
        draw_completions(trained, flags, data.Quadrants(flags.seen))
    else:
        draw_labels(trained, flags)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
