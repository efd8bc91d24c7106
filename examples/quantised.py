"""Quantised codes, p(c) p(x | e_c), by the nearest vector, by levels, or by Gumbel noise; then a prior over the codes.

python examples/quantised.py                              vector-quantised and finite scalar, at equal bits
python examples/quantised.py --variants vq,fsq,gumbel     and the Gumbel-softmax, whose codes are drawn
python examples/quantised.py --data mnist --arch conv     a grid of codes, a quarter of the image a side
python examples/quantised.py --codes 32 --levels 8,8      another number of codes of another size

A first run trains each pair under a uniform prior. A second one freezes it and fits a causal transformer to its codes,
p(c) = prod_i p(c_i | c_1, ..., c_(i-1)). The ELBO is that of the codes themselves: distortion and code length.

Data: 5,000 real digits, offline. Time: 100 s of one core.
"""

import argparse
import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from pyrovae import data
from pyrovae.examples._shared import (
    Row,
    Trained,
    add_binarize,
    derive,
    load_data,
    main,
    parser,
    rising_weight,
    score,
    scored,
    starting,
    train,
    transform_for,
    values,
    write_comparison,
    write_comparison_pictures,
    write_pictures,
    write_summary,
)
from pyrovae.guides import GumbelCodeGuide, QuantisedGuide
from pyrovae.guides.amortized import AmortizedGuide
from pyrovae.inference import ELBO, CodeUse, Estimate, Evaluation, Linear, code_use
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.blocks import ConvBlock
from pyrovae.networks.causal import CausalTransformer
from pyrovae.networks.codebooks import Codebook, Levels
from pyrovae.networks.dense import MLP

VARIANTS = {
    "vq": "the nearest of K free vectors, which follow the encoder",
    "fsq": "the nearest of K points of a fixed grid",
    "gumbel": "a draw of K free vectors, which learn by the straight-through Gumbel-softmax",
}

LEGEND = """
uniform      the ELBO under p(c) = K^-n, with n codes of K values, nats per test data point
learned      the ELBO of the same codes under the learned prior
code length  E[-log p(c)] under the learned prior, in nats; n log K = {uniform:.2f} under the uniform one
bits/dim     -ELBO / (D log 2) under the learned prior
perplexity   exp(entropy of the codes of all places together), at most K = {size}"""


class CodeScores(NamedTuple):
    """What the comparison says of one variant.

    Args:
        uniform, learned: ELBO, rate and distortion under both priors.
        use: the codes under the learned prior.
        trained: the pair with the learned prior.
        seconds: the time of both trainings.
    """

    uniform: Evaluation
    learned: Evaluation
    use: CodeUse
    trained: Trained
    seconds: float

    @property
    def bits_per_dim(self) -> float:
        """Of the ELBO under the learned prior."""
        return Estimate(*self.learned.elbo).bits_per_dim(self.learned.dims).value

    def entries(self) -> dict[str, Any]:
        """The scores, as the files hold them."""
        return {
            "uniform": self.uniform.elbo,
            "learned": self.learned.elbo,
            "gain": self.learned.elbo.value - self.uniform.elbo.value,
            "distortion": self.learned.distortion,
            "code_length": self.use.length,
            "bits_per_dim": self.bits_per_dim,
            "perplexity": self.use.perplexity,
            "in_use": self.use.used,
            "seconds": round(self.seconds, 1),
        }


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/quantised", epochs=30)
    p.add_argument("--variants", type=values.names(VARIANTS), default="vq,fsq", help="which guides to compare")
    p.add_argument("--arch", choices=("mlp", "conv"), default="mlp", help="architecture of the networks")
    p.add_argument("--codes", type=values.positive_int, default=16, help="number of codes of a data point, for mlp")
    levels = "levels of each dimension of fsq; their product is K for all variants, so that bits are equal"
    p.add_argument("--levels", type=values.some_integers, default=[8, 6, 5], help=levels)
    p.add_argument("--vector", type=values.positive_int, default=4, help="dimension of the free vectors")
    p.add_argument(
        "--hidden", type=values.integers, default=[400], help="widths of the dense layers, for example 400,200"
    )
    p.add_argument("--channels", type=values.positive_int, default=24, help="channels of the convolutions")
    p.add_argument("--decay", type=values.below_one, default=0.99, help="decay of the moving averages of vq")
    cooled = "temperature of gumbel at the end; it starts at 1, and gets there in half of all steps"
    p.add_argument("--temperature", type=values.positive, default=0.5, help=cooled)
    rising = "epochs in which the weight of the rate of gumbel rises from 0 to 1"
    p.add_argument("--warm-up", type=values.whole, default=10, help=rising)
    p.add_argument("--prior-epochs", type=values.whole, default=15, help="passes that fit the prior over codes")
    p.add_argument("--prior-lr", type=values.positive, default=3e-3, help="learning rate of the prior over codes")
    p.add_argument("--width", type=values.positive_int, default=64, help="width of the transformer, a multiple of 4")
    p.add_argument("--layers", type=values.positive_int, default=2, help="layers of the transformer")
    p.add_argument("--dropout", type=values.below_one, default=0.1, help="dropout of the transformer")
    add_binarize(p)
    p.set_defaults(schedule="cosine", num_samples=20, lr=2e-3)
    flags = p.parse_args(argv)
    if flags.width % 4:
        p.error(f"--width requires a multiple of 4, got {flags.width}. Write {4 * -(-flags.width // 4)}.")
    return flags


def codebook_of(flags: argparse.Namespace, variant: str) -> Codebook | Levels:
    """K vectors: free ones that follow the encoder or learn by gradient, or a grid."""
    if variant == "fsq":
        return Levels(flags.levels)
    return Codebook(math.prod(flags.levels), flags.vector, flags.decay if variant == "vq" else None)


def networks(
    flags: argparse.Namespace, shape: tuple[int, ...], params: tuple[int, ...], emitted: int, dim: int
) -> tuple[nn.Module, Any, tuple[int, ...]]:
    """An encoder to `(emitted, *grid)`, a decoder from `(dim, *grid)`, and the grid."""
    if flags.arch == "mlp":
        grid: tuple[int, ...] = (flags.codes,)
        return MLP(shape, (emitted, *grid), flags.hidden), MLP((dim, *grid), params, flags.hidden[::-1]), grid
    half = [(size + 1) // 2 for size in shape[1:]]
    grid = tuple((size + 1) // 2 for size in half)
    wide, narrow = (flags.channels, *half), (flags.channels, *grid)
    encoder = [ConvBlock(shape, wide, flags.channels), ConvBlock(wide, narrow, flags.channels)]
    decoder = [ConvBlock((dim, *grid), narrow, flags.channels), ConvBlock(narrow, wide, flags.channels)]
    last = ConvBlock(wide, params, flags.channels)
    into = nn.Sequential(*encoder, ConvBlock(narrow, (emitted, *grid), flags.channels))
    return into, nn.Sequential(*decoder, last), grid


def pair(flags: argparse.Namespace, variant: str, dataset: data.Dataset) -> tuple[VAE, AmortizedGuide, data.Transform]:
    """Model under a uniform prior, guide and transform; the decoder starts at the mean of the data."""
    shape = tuple(dataset.train["x"].shape[1:])
    likelihood, transform = likelihoods.Bernoulli(shape), transform_for("bernoulli", dataset.train, flags)
    codebook = codebook_of(flags, variant)
    emitted = codebook.size if variant == "gumbel" else codebook.dim
    encoder, decoder, grid = networks(flags, shape, likelihood.params_shape, emitted, codebook.dim)
    (decoder[-1] if flags.arch == "conv" else decoder).start_at(likelihood.start(starting(dataset.train, transform)))
    model = VAE(priors.UniformCodePrior(codebook, grid), likelihood, decoder)
    if variant != "gumbel":
        return model, QuantisedGuide(encoder, codebook, grid), transform
    steps = flags.epochs * math.ceil(len(dataset.train["x"]) / flags.batch_size)
    temperature = Linear(1.0, flags.temperature, max(1, steps // 2))
    return model, GumbelCodeGuide(encoder, codebook, grid, temperature), transform


def learn_prior(flags: argparse.Namespace, trained: Trained) -> Trained:
    """Freeze the pair, and fit a causal transformer to its codes; the run folder is `flags.out`."""
    model: Any = trained.model
    flags = argparse.Namespace(**vars(flags) | {"lr": flags.prior_lr})
    model.requires_grad_(False), trained.guide.requires_grad_(False)
    codebook, grid = model.prior.codebook, model.prior.grid
    network = CausalTransformer(codebook, math.prod(grid), flags.width, 4, flags.layers, flags.dropout)
    model.prior = priors.CausalCodePrior(network, codebook, grid).to(trained.device)
    return train(model, trained.guide, trained.transform, trained.data, flags)


def run(flags: argparse.Namespace, variant: str) -> CodeScores:
    """One variant, trained, then with a learned prior, and scored."""
    torch.manual_seed(flags.seed)
    draws = None if variant == "gumbel" else 2  # the codes are certain, so all draws are equal
    flags = derive(flags, num_samples=draws)
    dataset = load_data(flags, kind="images" if flags.arch == "conv" else "numbers")
    warm = rising_weight(dataset, flags, epochs=flags.warm_up)
    loss = ELBO(kl_weight=warm, analytic=True) if variant == "gumbel" else ELBO()
    first = train(*pair(flags, variant, dataset), dataset, derive(flags, out=flags.out / "pair"), loss=loss)
    uniform = score(first, flags)
    second = derive(flags, out=flags.out / "prior", epochs=flags.prior_epochs)
    trained = learn_prior(second, first)
    use = code_use(trained.model, trained.guide, scored(trained, flags), transform=trained.transform)["z"]
    scores = CodeScores(uniform, score(trained, flags), use, trained, first.seconds + trained.seconds)
    summarise(scores, second, variant)
    write_pictures(trained, second.out)
    return scores


def summarise(scores: CodeScores, flags: argparse.Namespace, variant: str) -> None:
    """The closing table of one variant."""
    use, gain = scores.use, scores.learned.elbo.value - scores.uniform.elbo.value
    rows = [
        Row("uniform prior", str(scores.uniform.elbo), f"ELBO, with a code length of {use.uniform_length:.2f}"),
        Row("gain", f"{gain:.2f}", "nats, by the learned prior at equal codes"),
        Row("bits/dim", f"{scores.bits_per_dim:.3f}", f"-ELBO / ({scores.learned.dims} log 2)"),
        Row("codes in use", f"{use.used} of {use.size}", f"perplexity {use.perplexity:.1f}"),
        Row("places", f"{int(use.varying.sum())} of {use.places}", "whose codes vary over the data"),
    ]
    hide = [] if variant == "gumbel" else ["log-evidence"]
    entries = {"variant": variant} | scores.entries()
    write_summary(scores.trained, scores.learned, flags, rows=rows, hide=hide, entries=entries)


def tabulate(found: Mapping[str, CodeScores]) -> None:
    """Print a row for each variant, and the legend."""
    heads = ("uniform", "learned", "gain", "distortion", "code length", "bits/dim", "perplexity", "in use", "time")
    print(f"\n{'variant':<9}" + "".join(f"{head:>12}" for head in heads))
    for name, one in found.items():
        numbers = one.entries()
        parts = [one.uniform.elbo.value, one.learned.elbo.value, numbers["gain"]]
        parts += [one.learned.distortion.value, one.use.length]
        cells = [*(f"{part:.2f}" for part in parts), f"{one.bits_per_dim:.3f}", f"{one.use.perplexity:.1f}"]
        cells += [f"{one.use.used}/{one.use.size}", f"{one.seconds:.0f} s"]
        print(f"{name:<9}" + "".join(f"{cell:>12}" for cell in cells))
    use = next(iter(found.values())).use
    print(LEGEND.format(uniform=use.uniform_length, size=use.size))


def script(flags: argparse.Namespace) -> None:
    """Train and score each variant under both priors, and compare them."""
    found: dict[str, CodeScores] = {}
    for variant in flags.variants:
        print(f"\n--- {variant}, {VARIANTS[variant]}")
        found[variant] = run(derive(flags, out=flags.out / variant), variant)
    tabulate(found)
    write_comparison(flags.out, {name: one.entries() for name, one in found.items()})
    bounds = {
        "uniform prior": {name: one.uniform.elbo.value for name, one in found.items()},
        "learned prior": {name: one.learned.elbo.value for name, one in found.items()},
    }
    write_comparison_pictures(flags.out, bounds, {name: one.trained.history for name, one in found.items()})


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
