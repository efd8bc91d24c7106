"""Importance-weighted autoencoders: tighter bounds, and the gradients that they are climbed by.

python examples/iwae.py                                            the ELBO against IWAE, three gradients; one table
python examples/iwae.py --particles 50 --gradient dreg             one of them: trained, scored, drawn
python examples/iwae.py --particles 5 --layers 2                   two stochastic layers, p(z2) p(z1 | z2) p(x | z1)
python examples/iwae.py --particles 50 --data mnist --schedule cosine --evaluate 0 --num-samples 5000
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from pyrovae import cli, data
from pyrovae.guides import BottomUpGuide, NormalGuide
from pyrovae.inference import IWAE, Evaluation, evaluate, gradient_noise
from pyrovae.models import VAE, ConditionalNormal, HierarchicalVAE, likelihoods, priors
from pyrovae.networks.dense import MLP

Dense = partial(MLP, activation=nn.Tanh)

GRADIENTS = ("plain", "stl", "dreg")
COMPARED = {"ELBO": (1, "plain")} | {f"IWAE-10, {gradient}": (10, gradient) for gradient in GRADIENTS}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out="runs/iwae", epochs=20)
    p.set_defaults(batch_size=100)
    p.add_argument("--particles", type=int, help="train one pair with so many; a comparison when not given")
    p.add_argument("--gradient", choices=GRADIENTS, default="plain", help="of the guide, with --particles")
    p.add_argument("--layers", type=int, choices=(1, 2), default=1, help="of latents")
    p.add_argument("--binarize", choices=("dynamic", "static", "threshold"), default="dynamic", help="of the images")
    return p.parse_args(argv)


def one_layer(likelihood: likelihoods.Bernoulli) -> tuple[VAE, NormalGuide]:
    """784-200-200-50 and back, of Burda et al. (2016)."""
    shape = likelihood.event_shape
    return VAE(priors.StandardNormal(50), likelihood, Dense(50, shape, [200, 200])), NormalGuide(
        Dense(shape, 2 * 50, [200, 200])
    )


def two_layers(likelihood: likelihoods.Bernoulli) -> tuple[HierarchicalVAE, BottomUpGuide]:
    """784-200-200-100-100-100-50 and back: z1 has 100 dimensions, z2 50."""
    shape = likelihood.event_shape
    upper, lower = Dense(50, 2 * 100, [100, 100]), Dense(100, shape, [200, 200])
    model = HierarchicalVAE(priors.StandardNormal(50), [ConditionalNormal(upper)], likelihood, lower)
    first, second = Dense(shape, 2 * 100, [200, 200]), Dense(100, 2 * 50, [100, 100])
    return model, BottomUpGuide([ConditionalNormal(first), ConditionalNormal(second)])


def pair(a: argparse.Namespace, train: data.Batch) -> tuple[Any, Any, data.Binarize]:
    """Model, guide and transform; the decoder starts at the mean of the data."""
    likelihood = likelihoods.Bernoulli(tuple(train["x"].shape[1:]))
    model, guide = (one_layer if a.layers == 1 else two_layers)(likelihood)
    model.decoder.start_at(likelihood.start(data.excerpt(train["x"])))
    return model, guide, data.Binarize(a.binarize, seed=a.seed)


def train(a: argparse.Namespace, particles: int, gradient: str, out: Path) -> tuple[cli.Run, Evaluation]:
    """One pair, trained by the flags and scored."""
    run = cli.Run(argparse.Namespace(**vars(a) | {"out": out}))
    run.fit(*pair(a, run.data.train), loss=IWAE(particles, gradient=gradient))
    measured = run.evaluate()
    run.summary(measured, particles=particles, gradient=gradient)
    return run, measured


def compare(a: argparse.Namespace) -> None:
    """Train each, and measure the gradients of all at the weights of one, IWAE's plain."""
    runs = {name: train(a, *how, a.out / name.replace(", ", "-").lower()) for name, how in COMPARED.items()}
    common, _ = runs["IWAE-10, plain"]
    batch = common.transform({name: tensor[:100].to(common.device) for name, tensor in common.test.items()})
    rows = []
    for name, (particles, gradient) in COMPARED.items():
        run, measured = runs[name]
        options = {"num_samples": particles, "transform": run.transform, "seed": a.seed}
        bound = evaluate(run.model, run.guide, run.scored, **options).log_evidence
        noise = gradient_noise(common.model, common.guide, IWAE(particles, gradient=gradient), batch)
        rows.append((name, bound, measured.log_evidence, noise))
    print(f"\n{'objective':<16}{'its bound':>16}{'log-evidence':>18}{'gradient: sd':>16}{'signal/noise':>14}")
    for name, bound, evidence, noise in rows:
        print(f"{name:<16}{bound!s:>16}{evidence!s:>18}{noise.scale:>16.3f}{noise.signal_to_noise:>14.2f}")
    print("nats per test datum; the guide's gradients at the weights of 'IWAE-10, plain', on one batch of 100")
    text = json.dumps(
        {
            n: {"bound": b, "log_evidence": e, "gradient": {**g._asdict(), "snr": g.signal_to_noise}}
            for n, b, e, g in rows
        }
    )
    (a.out / "comparison.json").write_text(text)


def script(a: argparse.Namespace) -> None:
    if a.particles is None:
        compare(a)
        return
    run, _ = train(a, a.particles, a.gradient, a.out)
    run.pictures()


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
