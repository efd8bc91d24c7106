"""A deep Markov model of sequences, p(x, z) = prod_t p(z_t | z_(t-1)) p(x_t | z_t), that plays what it draws.

python examples/deep_markov.py                                      chord progressions, offline
python examples/deep_markov.py --data chorales --root PATH          the chorales of Bach
python examples/deep_markov.py --flows 2                            a guide with inverse autoregressive flows

The closing table has nats per time step: the sum over the test sequences, divided by the sum of their lengths.

Data: chord progressions drawn by a grammar, offline. Time: 30 s of one core.
"""

import argparse
import sys

import torch
from torch import nn

from pyrovae import data, plots
from pyrovae.data.sound import write_wav
from pyrovae.examples._shared import (
    Row,
    Trained,
    load_data,
    main,
    parser,
    rising_weight,
    save_picture,
    score,
    scored,
    train,
    values,
    write_pictures,
    write_summary,
)
from pyrovae.guides import Combiner, FlowCombiner, MarkovGuide
from pyrovae.inference import ELBO, Estimate, Evaluation, decode, encode, generate
from pyrovae.models import DeepMarkovModel, GatedTransition, likelihoods
from pyrovae.networks.dense import MLP
from pyrovae.networks.recurrent import BackwardRNN

PER_STEP = {
    "elbo": ("-ELBO", "nats per time step, one draw"),
    "log_evidence": ("-log-evidence", "nats per time step, importance sampling"),
    "exact": ("-log p(x)", "nats per time step, exact under the grammar that drew the chords"),
}
"""Name and unit of each row of the closing table."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/deep_markov", epochs=25)
    p.add_argument("--latent", type=values.positive_int, default=32, help="dimension of z_t")
    p.add_argument("--transition", type=values.positive_int, default=64, help="hidden units of p(z_t | z_(t-1))")
    p.add_argument("--emission", type=values.integers, default=[64, 64], help="hidden units of p(x_t | z_t)")
    p.add_argument("--rnn", type=values.positive_int, default=128, help="units of the guide's recurrent network")
    p.add_argument("--kind", choices=("gru", "rnn"), default="rnn", help="kind of the guide's recurrent network")
    p.add_argument(
        "--flows", type=values.whole, default=0, help="inverse autoregressive steps on each q(z_t | z_(t-1), x)"
    )
    p.add_argument("--kl-start", type=values.non_negative, default=0.2, help="weight of the rate at the start")
    p.add_argument("--warm-up", type=values.whole, default=5, help="epochs in which the weight of the rate rises to 1")
    p.add_argument("--length", type=values.positive_int, default=64, help="time steps of the sequence that is played")
    # Each batch has a length of its own, so there is nothing to compile.
    p.set_defaults(data="chords", batch_size=20, lr=3e-3, schedule="cosine", compile=False)
    p.set_defaults(evaluate=0, num_samples=100)
    return p.parse_args(argv)


def pair(flags: argparse.Namespace, split: data.Batch) -> tuple[DeepMarkovModel, MarkovGuide]:
    """Model and guide; the emission starts at the mean of the data."""
    event = split["x"].shape[2]
    likelihood, decoder = likelihoods.Bernoulli(event), MLP(flags.latent, event, flags.emission)
    decoder.start_at(likelihood.start(split["x"][split["within"]]))
    transition = GatedTransition(flags.latent, flags.transition)
    model = DeepMarkovModel(transition, likelihood, decoder, flags.latent, flags.length)
    encoder = BackwardRNN(event, flags.rnn, nn.GRU if flags.kind == "gru" else nn.RNN)
    combiner: nn.Module = Combiner(flags.latent, flags.rnn)
    if flags.flows:
        combiner = FlowCombiner(combiner, flags.latent, flags.rnn, flags.flows)
    return model, MarkovGuide(encoder, combiner, flags.latent)


def per_step(batch: data.Batch, measured: Evaluation, *, exact: bool) -> dict[str, Estimate]:
    """Nats per time step of the scored data; the exact ones are known for chords."""
    share = len(batch["within"]) / batch["within"].sum().item()
    nats = {name: getattr(measured, name).scaled(-share) for name in ("elbo", "log_evidence")}
    if exact:
        nats["exact"] = Estimate(-data.chords_log_prob(batch).mean().item() * share, 0.0)
    return nats


def play(trained: Trained, flags: argparse.Namespace) -> None:
    """Draw a test sequence, its reconstruction and two new sequences, and write the first of these as sound."""
    one = trained.transform({name: tensor[:1].to(trained.device) for name, tensor in trained.test.items()})
    code = encode(trained.model, trained.guide, one)
    again = decode(trained.model, code, given={"within": one["within"]})
    drawn = generate(trained.model, 2, mean=False, seed=flags.seed)
    rolls = {
        "a test sequence": one["x"][0],
        "its reconstruction: p(key | z), z the path of means of q(z | x)": again[0],
        "a draw of the model, drawn.wav": drawn[0],
        "another draw": drawn[1],
    }
    save_picture(plots.piano_rolls(rolls), flags.out, "rolls")
    sound = flags.out / "drawn.wav"
    write_wav(sound, drawn[0])
    print(f"sound   {sound}, {len(drawn[0])} steps drawn from the model")


def script(flags: argparse.Namespace) -> None:
    """Train, score, draw, play."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags, kind="sequences")
    model, guide = pair(flags, dataset.train)
    weight = rising_weight(dataset, flags, epochs=flags.warm_up, start=flags.kl_start)
    loss = ELBO(kl_weight=weight, analytic=not flags.flows)
    batches = data.ByLength(dataset.train["within"].sum(-1), flags.batch_size)
    trained = train(model, guide, data.Trim(), dataset, flags, loss=loss, batches=batches)
    measured = score(trained, flags)
    nats = per_step(scored(trained, flags), measured, exact=flags.data == "chords")
    rows = [Row.of(PER_STEP[name][0], value, PER_STEP[name][1]) for name, value in nats.items()]
    write_summary(trained, measured, flags, rows=rows, entries={"nats_per_step": nats})
    write_pictures(trained, flags.out)
    play(trained, flags)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
