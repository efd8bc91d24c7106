"""Sentences: a VAE of text against a language model of the same LSTM, and against a VAE that collapsed.

python examples/text_vae.py                                       names of Unicode's characters, word by word, offline
python examples/text_vae.py --data names.txt --level char         your own sentences, one per line, letter by letter
python examples/text_vae.py --variants vae --decoder transformer  one of them, another decoder
python examples/text_vae.py --variants vae --every 10             ten steps of the guide for each step of the model

p(x, z) = p(z) prod_t p(x_t | x_<t, z). The decoder can model x without z, and learns to ignore z if nothing prevents
it. The table has the evidence of each variant, exact for the language model and by importance sampling for the others.

Data: names of Unicode's characters, offline. Time: 3 min of one core.
"""

import argparse
import math
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch

from pyrovae import data
from pyrovae.data.tokens import lengths
from pyrovae.examples._shared import (
    Row,
    Trained,
    derive,
    load_data,
    main,
    parser,
    score,
    scored,
    train,
    values,
    write_comparison,
    write_pictures,
    write_summary,
)
from pyrovae.guides import EmptyGuide, NormalGuide, SentenceEncoder
from pyrovae.inference import (
    ELBO,
    IWAE,
    Aggressive,
    Cyclical,
    Estimate,
    Evaluation,
    Objective,
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
from pyrovae.inference.training.device import choose_device
from pyrovae.models import Autoregressive, LanguageModel, LSTMDecoder, TextVAE, TransformerDecoder, priors
from pyrovae.output import write_text

VARIANTS = {
    "lm": "the language model: no z, and as many epochs as vae and iwae together",
    "collapsed": "the ELBO alone: no annealing, no free bits",
    "vae": "annealing and free bits against collapse, as the flags say",
    "iwae": "the vae, trained further by the bound of several draws",
}

LEGEND = """
evidence     log p(x) in nats per test sentence; exact for lm, a lower bound by {draws} draws each for the others
less lm      the same less that of lm, paired: the error is over sentences; that of another seed is not in it
perplexity   exp(-log p(x) / tokens), where the end of a sentence is a token
rate         KL(q(z|x) || p(z)), of which the mutual information I_q(x; z) is a part
active       dimensions of z whose means vary over the test sentences"""


class TextScores(NamedTuple):
    """What the comparison says of one variant.

    Args:
        measured: ELBO, rate, distortion and log-evidence.
        perplexity: per token.
        information: I_q(x; z).
        active: number of active dimensions of z.
        seconds: the time of training.
    """

    measured: Evaluation
    perplexity: Estimate
    information: float
    active: int
    seconds: float

    def entries(self) -> dict[str, Any]:
        """The scores that `summary.json` does not have anyway, as the files hold them."""
        return {"perplexity": self.perplexity, "information": self.information, "active": self.active}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/text_vae", epochs=2)
    p.add_argument("--level", choices=("word", "char"), help="what a token is; word by default")
    p.add_argument(
        "--variants", type=values.names(VARIANTS), default=",".join(VARIANTS), help="which programs to compare"
    )
    p.add_argument("--decoder", choices=("lstm", "transformer"), default="lstm", help="p(x_t | x_<t, z)")
    p.add_argument("--latent", type=values.positive_int, default=16, help="latent dimension")
    p.add_argument("--embedding", type=values.positive_int, default=32, help="width of a token's embedding")
    p.add_argument("--hidden", type=values.positive_int, default=64, help="width of the LSTMs, or of the transformer")
    p.add_argument(
        "--dropout", type=values.below_one, default=0.1, help="dropout of embeddings and states, in every variant"
    )
    words = "share of the preceding words that the decoder of vae does not see"
    p.add_argument("--word-dropout", type=values.fraction, default=0.0, help=words)
    true = "share of the training steps of vae whose input is the true token before, not the decoder's own prediction"
    p.add_argument("--teacher-forcing", type=values.fraction, default=1.0, help=f"{true}; lstm only")
    p.add_argument(
        "--free-bits", type=values.non_negative, default=3.0, help="nats of the rate that cost nothing in vae and iwae"
    )
    cycles = "number of cycles in which the weight of the rate of vae rises, during half of all steps"
    p.add_argument("--cycles", type=values.positive_int, default=1, help=cycles)
    p.add_argument("--particles", type=values.positive_int, default=8, help="draws in a training step of iwae")
    every = "steps of the guide for each step of the model in vae (He et al. 2019)"
    p.add_argument("--every", type=values.positive_int, default=1, help=every)
    p.set_defaults(data="unicode-names", batch_size=128, lr=4e-3, schedule="cosine", compile=False)
    p.set_defaults(evaluate=500, num_samples=100)
    flags = p.parse_args(argv)
    if flags.teacher_forcing < 1 and flags.decoder != "lstm":
        p.error(f"--teacher-forcing below 1 requires --decoder lstm, got {flags.decoder}")
    return flags


def decoder(
    flags: argparse.Namespace, words: int, length: int, latent: int, word_dropout: float = 0.0, forced: float = 1.0
) -> Autoregressive:
    """p(x_t | x_<t, z)."""
    drop = {"dropout": flags.dropout, "word_dropout": word_dropout}
    if flags.decoder == "transformer":
        return Autoregressive(TransformerDecoder(words, latent, length, flags.hidden, **drop), length)
    lstm = LSTMDecoder(words, latent, flags.embedding, flags.hidden, **drop, teacher_forcing=forced)
    return Autoregressive(lstm, length)


def pair(flags: argparse.Namespace, variant: str, words: int, length: int) -> tuple[Any, Any]:
    """Model and guide, for sentences of at most `length` tokens from a vocabulary of `words`."""
    if variant == "lm":
        return LanguageModel(decoder(flags, words, length, latent=0)), EmptyGuide()
    word_dropout = 0.0 if variant == "collapsed" else flags.word_dropout
    forced = flags.teacher_forcing if variant == "vae" else 1.0
    likelihood = decoder(flags, words, length, flags.latent, word_dropout, forced)
    encoder = SentenceEncoder(words, 2 * flags.latent, flags.embedding, flags.hidden, flags.dropout)
    return TextVAE(priors.StandardNormal(flags.latent), likelihood), NormalGuide(encoder)


def objective(flags: argparse.Namespace, variant: str, steps: int) -> Objective | None:
    """The objective of a training of `steps` steps; None is log p(x) itself, for the language model."""
    if variant == "lm":
        return None
    if variant == "collapsed":
        return ELBO(analytic=True)
    free_bits = flags.free_bits / flags.latent
    if variant == "iwae":
        return IWAE(flags.particles, gradient="dreg", free_bits=free_bits)
    cycles = flags.cycles
    weight = Cyclical(0.0, 1.0, math.ceil(steps / 2 / cycles), cycles=cycles) if cycles else 1.0
    return ELBO(kl_weight=weight, free_bits=free_bits, group="dimension", analytic=True)


def flags_of(flags: argparse.Namespace, variant: str) -> argparse.Namespace:
    """The flags of one variant; its run folder is among those of the others."""
    start = flags.out / "vae" if variant == "iwae" and not flags.start else None
    epochs = 2 * flags.epochs if variant == "lm" and "iwae" in flags.variants else None
    draws = 1 if variant == "lm" else None  # without z there is nothing to draw
    return derive(flags, out=flags.out / variant, start=start, epochs=epochs, num_samples=draws)


def run(flags: argparse.Namespace, variant: str) -> tuple[Trained, TextScores]:
    """One variant, trained by its flags and scored."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags, kind="sentences")
    x = dataset.train["x"]
    model, guide = pair(flags, variant, len(dataset.vocabulary), x.shape[1])
    options: dict[str, Any] = {"batches": data.ByLength(lengths(x), flags.batch_size)}
    if variant == "vae" and flags.every > 1:
        options |= aggressive(flags, model, guide, dataset.valid)
    loss = objective(flags, variant, flags.epochs * math.ceil(len(x) / flags.batch_size))
    trained = train(model, guide, data.Scale(), dataset, flags, loss=loss, **options)
    measured = score(trained, flags)
    told = information(trained, flags) if variant != "lm" else (0.0, 0)
    scores = TextScores(measured, perplexity(measured, scored(trained, flags)["x"]), *told, trained.seconds)
    summarise(trained, scores, flags, variant)
    write_pictures(trained, flags.out)
    return trained, scores


def aggressive(flags: argparse.Namespace, model: TextVAE, guide: NormalGuide, valid: data.Batch) -> dict[str, Any]:
    """The optimizer whose guide takes several steps for each step of the model, and what ends this phase."""
    held = {name: tensor[:1000].to(choose_device(flags.device)) for name, tensor in valid.items()}
    decay = {"weight_decay": flags.weight_decay, "decoupled_weight_decay": True}  # as in AdamW
    return {
        "optim": (Aggressive, {"model": model, "every": flags.every, "lr": flags.lr, **decay}),
        "scheduler": partial(Release, model=model, guide=guide, data=held),
    }


def summarise(trained: Trained, scores: TextScores, flags: argparse.Namespace, variant: str) -> None:
    """The closing table of one variant."""
    rows, hide = [Row.of("perplexity", scores.perplexity, "per token")], []
    if variant == "lm":
        rows.insert(0, Row("log p(x)", str(scores.measured.log_evidence), "nats per data point, exact"))
        hide = ["ELBO", "rate", "distortion", "log-evidence"]
    else:
        rows.append(Row("information", f"{scores.information:z.2f}", "I_q(x; z)"))
        rows.append(Row("active", f"{scores.active} of {flags.latent}", "dimensions of z"))
    if variant == "vae" and flags.teacher_forcing < 1:
        rows.append(Row("teacher", f"{flags.teacher_forcing:.0%}", "of training inputs: its loss bounds no log p(x)"))
    entries = {"variant": variant} | scores.entries()
    write_summary(trained, scores.measured, flags, rows=rows, hide=hide, entries=entries)


def information(trained: Trained, flags: argparse.Namespace) -> tuple[float, int]:
    """I_q(x; z), and the number of active dimensions, on test data."""
    found = aggregate_posterior(trained.model, trained.guide, scored(trained, flags)).mutual_information.value
    return found, int((encode(trained.model, trained.guide, trained.test)["z"].var(0) > ACTIVE).sum())


def sentences(trained: Trained, seed: int) -> str:
    """What the VAE writes: test sentences from their codes, new ones, and a path from one to another."""
    say, x = trained.data.vocabulary.decode, trained.test["x"][:8].to(trained.device)
    model: Any = trained.model
    z = encode(model, trained.guide, {"x": x})["z"]
    fresh = torch.randn(5, z.shape[1], generator=torch.Generator().manual_seed(seed)).to(z)
    parts = ["sentence                                 from its code, by beam search"]
    parts += [f"{old:<40} {new}" for old, new in zip(say(x), say(decode_beam(model, z)), strict=True)]
    ways = {
        "greedy": decode_greedy(model, fresh),
        "beam": decode_beam(model, fresh),
        "sampled": decode_sampled(model, fresh, seed=seed),
        "top 0.9": decode_sampled(model, fresh, top_p=0.9, seed=seed),
    }
    parts += ["", "z ~ p(z)"]
    lines = {way: say(written) for way, written in ways.items()}
    parts += [f"{i + 1} {way:<9}{lines[way][i]}" for i in range(5) for way in ways]
    for i in range(0, 4, 2):
        parts += ["", f"from {say(x)[i]!r} to {say(x)[i + 1]!r}"]
        between = path({"z": z[i]}, {"z": z[i + 1]}, 7)["z"]
        parts += [f"  {line}" for line in say(decode_beam(model, between))]
    return "\n".join(parts)


def less_language_model(found: Mapping[str, TextScores]) -> dict[str, Estimate]:
    """By how much each variant's evidence is above that of the language model, with the error over sentences."""
    evidence = {variant: one.measured.per_datum["log_evidence"] for variant, one in found.items()}
    gains = {variant: own - evidence["lm"] for variant, own in evidence.items() if "lm" in evidence and variant != "lm"}
    return {name: Estimate(gain.mean().item(), gain.std().item() / len(gain) ** 0.5) for name, gain in gains.items()}


def tabulate(flags: argparse.Namespace, found: Mapping[str, TextScores], less: Mapping[str, Estimate]) -> None:
    """Print a row for each variant, and the legend."""
    heads = f"{'':<11}{'evidence':>19}{'less lm':>17}{'perplexity':>17}{'rate':>17}{'information':>13}{'active':>10}"
    print(f"\n{heads}{'time':>8}")
    for variant, (measured, per_token, told, active, seconds) in found.items():
        codes = f"{measured.rate!s:>17}{told:>z13.2f}{f'{active} of {flags.latent}':>10}"
        codes = " " * 40 if variant == "lm" else codes
        evidence, per_token = Estimate(*measured.log_evidence), Estimate(*per_token)
        gain = less.get(variant, "")
        print(f"{variant:<11}{evidence!s:>19}{gain!s:>17}{per_token!s:>17}{codes}{seconds:>6.0f} s")
    print(LEGEND.format(draws=flags.num_samples))


def script(flags: argparse.Namespace) -> None:
    """Train and score each variant, let the VAEs write, and compare all of them."""
    found: dict[str, TextScores] = {}
    written = ""
    for variant in flags.variants:
        print(f"\n--- {variant}, {VARIANTS[variant]}")
        trained, found[variant] = run(flags_of(flags, variant), variant)
        if variant in ("vae", "iwae"):
            written = sentences(trained, flags.seed)
            write_text(flags.out / variant / "sentences.txt", written + "\n")
    if written:
        print(f"\n{written}")
    less = less_language_model(found)
    tabulate(flags, found, less)
    table = {
        variant: {"log_evidence": one.measured.log_evidence, "rate": one.measured.rate, "seconds": one.seconds}
        | one.entries()
        for variant, one in found.items()
    }
    for variant, gain in less.items():
        table[variant]["less_lm"] = gain
    write_comparison(flags.out, table)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
