"""A conditional variational autoencoder, p(x | z, y) p(z | y), on real digits: by label, or by the part that is seen.

python examples/conditional_vae.py                              y is the label: sevens on demand, styles transferred
python examples/conditional_vae.py --digit 3                    threes on demand
python examples/conditional_vae.py --task quadrants --seen 1    y is a quadrant of the image, x the rest
"""

import argparse
import sys
from typing import Any

import torch
from torch import Tensor

from pyrovae import cli, data, plots
from pyrovae.errors import DataError
from pyrovae.guides import ConditionalGuide, NormalGuide
from pyrovae.inference import decode, encode, generate
from pyrovae.models import ConditionalNormal, ConditionalVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

OUT = {"labels": "runs/conditional_vae", "quadrants": "runs/conditional_vae_quadrants"}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out=OUT["labels"], epochs=40)
    p.add_argument("--task", choices=OUT, default="labels", help="what y is: a label, or the part of an image seen")
    p.add_argument("--seen", type=int, choices=(1, 2, 3), default=1, help="quadrants seen, in --task quadrants")
    p.add_argument("--digit", type=int, default=7, help="the label to generate on demand, in --task labels")
    p.add_argument("--hidden", type=cli.shape_list, default=[400], help="widths of the dense layers, 500,500")
    p.add_argument("--latent", type=int, default=20, help="latent dimension")
    p.add_argument("--binarize", choices=("dynamic", "static", "threshold"), default="dynamic", help="in --task labels")
    task = p.parse_known_args(argv)[0].task
    p.set_defaults(out=OUT[task], **({"epochs": 30, "patience": 5} if task == "quadrants" else {}))
    return p.parse_args(argv)


def of_labels(a: argparse.Namespace, train: data.Batch, classes: int) -> tuple[ConditionalVAE, ConditionalGuide, Any]:
    """p(z) p(x | z, y): a style that is independent of the label, binarised pixels."""
    shape = tuple(train["x"].shape[1:])
    likelihood = likelihoods.Bernoulli(shape)
    decoder = JointMLP([a.latent, classes], likelihood.params_shape, a.hidden[::-1])
    decoder.start_at(likelihood.start(data.excerpt(train["x"])))
    encoder = JointMLP([shape, classes], 2 * a.latent, a.hidden)
    for network in (decoder, encoder):
        network.emphasise(1, 8.0)  # so that codes learn to leave the class to y
    model = ConditionalVAE(priors.StandardNormal(a.latent), likelihood, decoder)
    return model, ConditionalGuide(NormalGuide(encoder)), data.Binarize(a.binarize, seed=a.seed)


def of_quadrants(a: argparse.Namespace, train: data.Batch) -> tuple[ConditionalVAE, ConditionalGuide, data.Quadrants]:
    """p(z | y) p(x | z, y), y the grey pixels seen and x those to be predicted, under the tutorials' cross-entropy."""
    transform = data.Quadrants(a.seen)
    parts = transform(transform.prepare({"x": train["x"][:1000]}))
    rest, seen = parts["x"].shape[1], parts["y"].shape[1]
    likelihood = likelihoods.Bernoulli(rest, relaxed=True)
    prior = ConditionalNormal(MLP(seen, 2 * a.latent, a.hidden))
    decoder = JointMLP([a.latent, seen], rest, a.hidden[::-1])
    decoder.start_at(likelihood.start(parts["x"]))
    encoder = JointMLP([rest, seen], 2 * a.latent, a.hidden)
    return ConditionalVAE(prior, likelihood, decoder), ConditionalGuide(NormalGuide(encoder)), transform


def label_pictures(run: cli.Run, digit: int, classes: int) -> None:
    """One label on demand, all labels in the same styles, and styles of test data under all labels."""
    on_demand = generate(run.model, 50, given={"y": torch.full((50,), digit, device=run.device)})
    run.save("on_demand", plots.grid(on_demand, title=f"the mean of p(x | z, y = {digit}), z ~ p(z)"))
    styles = torch.randn(10, run.arguments.latent, generator=torch.Generator().manual_seed(0)).to(run.device)
    run.save("styles", plots.paths(by_label(run, styles, classes), title="one code a row, all labels"))
    batch = run.transform({n: t[:10].to(run.device) for n, t in run.test.items()})
    codes = encode(run.model, run.guide, batch)["z"]
    transferred = torch.cat([batch["x"].unsqueeze(1), by_label(run, codes, classes)], 1)
    run.save("style_transfer", plots.paths(transferred, title="a test digit, then its style under all labels"))


def by_label(run: cli.Run, z: Tensor, classes: int) -> Tensor:
    """Each code `(R, D)` decoded under each label: `(R, K, C, H, W)`."""
    y = torch.arange(classes, device=z.device).repeat(len(z))
    return decode(run.model, {"z": z.repeat_interleave(classes, 0)}, given={"y": y}).unflatten(0, (len(z), classes))


def completion_pictures(run: cli.Run, transform: data.Quadrants) -> None:
    """Test digits: what was seen, four completions, the whole."""
    parts = transform({name: part[:10].to(run.device) for name, part in run.test.items()})
    shape = tuple(run.data.test["x"].shape[1:])
    seen = transform.join(torch.full_like(parts["x"], 0.5), parts["y"], shape)
    drawn = [generate(run.model, len(seen), given={"y": parts["y"]}, seed=seed) for seed in range(4)]
    columns = [seen, *(transform.join(x, parts["y"], shape) for x in [*drawn, parts["x"]])]
    title = "what is seen, four completions, the truth"
    run.save("completions", plots.paths(torch.stack(columns, 1), title=title))


def script(a: argparse.Namespace) -> None:
    run = cli.Run(a)
    if a.task == "quadrants":
        model, guide, transform = of_quadrants(a, run.data.train)
    elif "y" not in run.data.train:
        raise DataError(f"--task labels wants labels, {a.data!r} has none. Write --task quadrants.")
    else:
        classes = int(run.data.train["y"].max()) + 1
        model, guide, transform = of_labels(a, run.data.train, classes)
    run.fit(model, guide, transform)
    measured = run.evaluate()
    conditional = -measured.log_evidence.value
    run.summary(measured, rows=[("-log p(x|y)", f"{conditional:.2f}", "conditional, per datum, of x alone")])
    run.save("curves", plots.curves(run.history.rows))
    if a.task == "quadrants":
        completion_pictures(run, transform)
    else:
        label_pictures(run, a.digit, classes)


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
