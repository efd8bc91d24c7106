"""Sentences: a VAE of text beside a language model of the same LSTM, and beside a VAE that collapsed.

python examples/text_vae.py                                       names of Unicode's characters, word by word, offline
python examples/text_vae.py --data names.txt --level char         your own sentences, one a line, letter by letter
python examples/text_vae.py --variants vae --decoder transformer  one of them, another decoder
python examples/text_vae.py --variants vae --every 10             the guide takes ten steps for one of the model's

p(x, z) = p(z) prod_t p(x_t | x_<t, z). The decoder could do without z, and left alone it does. The table has the
evidence of each variant, exact for the language model and by importance sampling for the others.
"""

import argparse
import json
import math
import sys
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae import cli, data
from pyrovae.data.tokens import lengths
from pyrovae.guides import NormalGuide, SentenceEncoder
from pyrovae.inference import (
    ELBO,
    IWAE,
    Aggressive,
    Cyclical,
    Estimate,
    Evaluation,
    Release,
    aggregate_posterior,
    decode_beam,
    decode_greedy,
    decode_sampled,
    encode,
    path,
    perplexity,
)
from pyrovae.inference.diagnostics.latents import ACTIVE
from pyrovae.models import Autoregressive, LanguageModel, LSTMDecoder, TextVAE, TransformerDecoder, priors

VARIANTS = {
    "lm": "the language model: no z, and as many epochs as vae and iwae together",
    "collapsed": "the ELBO alone: no annealing, no free bits",
    "vae": "annealing and free bits against collapse, as the flags say",
    "iwae": "the vae, trained on by the bound of several draws",
}

LEGEND = """
evidence     log p(x) in nats per test sentence; exact for lm, by {draws} draws each for the others, from below
perplexity   exp(-log p(x) / tokens), the end of a sentence being one
rate         KL(q(z|x) || p(z)), and of it the mutual information I_q(x; z)
active       dimensions of z whose means vary over the test sentences"""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out="runs/text_vae", epochs=2)
    p.add_argument("--level", choices=("word", "char"), default="word", help="what a token is")
    p.add_argument("--variants", default=",".join(VARIANTS), help=f"of {','.join(VARIANTS)}")
    p.add_argument("--decoder", choices=("lstm", "transformer"), default="lstm", help="p(x_t | x_<t, z)")
    p.add_argument("--latent", type=int, default=16, help="latent dimension")
    p.add_argument("--embedding", type=int, default=32, help="width of a token's embedding")
    p.add_argument("--hidden", type=int, default=64, help="width of the LSTMs, or of the transformer")
    p.add_argument("--dropout", type=float, default=0.1, help="of embeddings and states, in every variant")
    p.add_argument("--word-dropout", type=float, default=0.0, help="part of the words before that vae does not see")
    p.add_argument("--free-bits", type=float, default=3.0, help="nats of the rate that cost nothing in vae and iwae")
    p.add_argument(
        "--cycles", type=int, default=1, help="in which the weight of the rate rises in vae, half of all steps"
    )
    p.add_argument("--particles", type=int, default=8, help="draws of a training step of iwae")
    p.add_argument(
        "--every", type=int, default=1, help="steps of the guide for one of the model in vae (He et al. 2019)"
    )
    p.set_defaults(data="unicode-names", batch_size=128, lr=4e-3, schedule="cosine", compile=False)
    p.set_defaults(evaluate=500, num_samples=100)
    a = p.parse_args(argv)
    a.variants = a.variants.split(",")
    if unknown := [name for name in a.variants if name not in VARIANTS]:
        p.error(f"--variants has {', '.join(unknown)}, of which there is none. Choose from {','.join(VARIANTS)}.")
    return a


class Row(NamedTuple):
    """What the table says of one variant."""

    measured: Evaluation
    perplexity: Estimate
    information: float
    active: int
    seconds: float


def decoder(a: argparse.Namespace, words: int, length: int, latent: int, word_dropout: float = 0.0) -> Autoregressive:
    """p(x_t | x_<t, z)."""
    drop = {"dropout": a.dropout, "word_dropout": word_dropout}
    if a.decoder == "transformer":
        return Autoregressive(TransformerDecoder(words, latent, length, a.hidden, **drop), length)
    return Autoregressive(LSTMDecoder(words, latent, a.embedding, a.hidden, **drop), length)


def pair(a: argparse.Namespace, variant: str, words: int, length: int) -> tuple[Any, Any]:
    """Model and guide."""
    if variant == "lm":
        return LanguageModel(decoder(a, words, length, latent=0)), nothing
    likelihood = decoder(a, words, length, a.latent, 0.0 if variant == "collapsed" else a.word_dropout)
    encoder = SentenceEncoder(words, 2 * a.latent, a.embedding, a.hidden, a.dropout)
    return TextVAE(priors.StandardNormal(a.latent), likelihood), NormalGuide(encoder)


def nothing(x: Tensor) -> None:
    """The guide of a model without latents."""


def objective(a: argparse.Namespace, variant: str, steps: int) -> Any:
    """What is maximised, in so many steps."""
    if variant == "lm":
        return None  # log p(x) itself
    if variant == "collapsed":
        return ELBO(analytic=True)
    if variant == "iwae":
        return IWAE(a.particles, gradient="dreg", free_bits=a.free_bits / a.latent)
    weight = Cyclical(0.0, 1.0, math.ceil(steps / 2 / a.cycles), cycles=a.cycles) if a.cycles else 1.0
    return ELBO(kl_weight=weight, free_bits=a.free_bits / a.latent, group="dimension", analytic=True)


def train(a: argparse.Namespace, variant: str) -> tuple[cli.Run, Row]:
    """One variant, trained by the flags and scored; its run folder is beside those of the others."""
    draws = 1 if variant == "lm" else a.num_samples  # without z there is nothing to draw
    start = a.start or (a.out / "vae" if variant == "iwae" else None)
    epochs = 2 * a.epochs if variant == "lm" and "iwae" in a.variants else a.epochs
    settings = {"out": a.out / variant, "num_samples": draws, "start": start, "epochs": epochs}
    run = cli.Run(argparse.Namespace(**vars(a) | settings))
    x, vocabulary = run.data.train["x"], run.data.vocabulary
    model, guide = pair(a, variant, len(vocabulary), x.shape[1])
    options: dict[str, Any] = {"batches": data.ByLength(lengths(x), a.batch_size)}
    if variant == "vae" and a.every > 1:
        held = {name: tensor[:1000].to(run.device) for name, tensor in run.data.valid.items()}
        decay = {"weight_decay": a.weight_decay, "decoupled_weight_decay": True}  # as in AdamW
        options["optim"] = Aggressive, {"model": model, "every": a.every, "lr": a.lr, **decay}
        options["scheduler"] = partial(Release, model=model, guide=guide, data=held)
    loss = objective(a, variant, a.epochs * math.ceil(len(x) / a.batch_size))
    run.fit(model, guide, data.Scale(), loss=loss, **options)
    measured = run.evaluate()
    row = Row(measured, perplexity(measured, run.scored["x"]), *information(run, variant), run.seconds)
    rows, hide = [("perplexity", str(row.perplexity), "per token")], []
    if variant == "lm":
        rows = [("log p(x)", str(measured.log_evidence), "nats per datum, exact"), *rows]
        hide = ["ELBO", "rate", "distortion", "log-evidence"]
    else:
        rows += [
            ("information", f"{row.information:z.2f}", "I_q(x; z)"),
            ("active", f"{row.active} of {a.latent}", "dimensions of z"),
        ]
    run.summary(measured, rows=rows, hide=hide, variant=variant, **entries(row))
    run.pictures()
    return run, row


def information(run: cli.Run, variant: str) -> tuple[float, int]:
    """I_q(x; z), and the number of active dimensions, on test data."""
    if variant == "lm":
        return 0.0, 0
    told = aggregate_posterior(run.model, run.guide, run.scored).mutual_information.value
    return told, int((encode(run.model, run.guide, run.test)["z"].var(0) > ACTIVE).sum())


def entries(row: Row) -> dict[str, Any]:
    """For the files."""
    return {"perplexity": row.perplexity, "information": row.information, "active": row.active}


def sentences(run: cli.Run, seed: int) -> str:
    """What the VAE writes: sentences again, of the prior, and from one sentence to another."""
    say, x = run.data.vocabulary.decode, run.test["x"][:8].to(run.device)
    z = encode(run.model, run.guide, {"x": x})["z"]
    fresh = torch.randn(5, z.shape[1], generator=torch.Generator().manual_seed(seed)).to(z)
    parts = ["sentence                                 from its code, by beam search"]
    parts += [f"{old:<40} {new}" for old, new in zip(say(x), say(decode_beam(run.model, z)), strict=True)]
    ways = {
        "greedy": decode_greedy(run.model, fresh),
        "beam": decode_beam(run.model, fresh),
        "sampled": decode_sampled(run.model, fresh, seed=seed),
        "top 0.9": decode_sampled(run.model, fresh, top_p=0.9, seed=seed),
    }
    parts += ["", "z ~ p(z)"]
    lines = {way: say(written) for way, written in ways.items()}
    parts += [f"{i + 1} {way:<9}{lines[way][i]}" for i in range(5) for way in ways]
    for i in range(0, 4, 2):
        parts += ["", f"from {say(x)[i]!r} to {say(x)[i + 1]!r}"]
        between = path({"z": z[i]}, {"z": z[i + 1]}, 7)["z"]
        parts += [f"  {line}" for line in say(decode_beam(run.model, between))]
    return "\n".join(parts)


def script(a: argparse.Namespace) -> None:
    rows: dict[str, Row] = {}
    for variant in a.variants:
        print(f"\n--- {variant}, {VARIANTS[variant]}")
        run, rows[variant] = train(a, variant)
        if variant in ("vae", "iwae"):
            text = sentences(run, a.seed)
            (a.out / variant / "sentences.txt").write_text(text + "\n", encoding="utf-8")
    if {"vae", "iwae"} & rows.keys():
        print(f"\n{text}")
    print(f"\n{'':<11}{'evidence':>16}{'perplexity':>15}{'rate':>14}{'information':>13}{'active':>10}{'time':>8}")
    for variant, (measured, per_token, told, active, seconds) in rows.items():
        codes = f"{measured.rate!s:>14}{told:>z13.2f}{f'{active} of {a.latent}':>10}" if variant != "lm" else " " * 37
        print(f"{variant:<11}{measured.log_evidence!s:>16}{per_token!s:>15}{codes}{seconds:>6.0f} s")
    print(LEGEND.format(draws=a.num_samples))
    table = {
        variant: {"log_evidence": row.measured.log_evidence, "rate": row.measured.rate, "seconds": row.seconds}
        | entries(row)
        for variant, row in rows.items()
    }
    (a.out / "comparison.json").write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
