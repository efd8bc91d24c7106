"""A deep Markov model of sequences, p(x, z) = prod_t p(z_t | z_(t-1)) p(x_t | z_t), that plays what it draws.

python examples/deep_markov.py                                      progressions of chords, offline
python examples/deep_markov.py --data chorales --root PATH          the chorales of Bach
python examples/deep_markov.py --flows 2                            a guide with inverse autoregressive flows

The closing table has nats per time step: the sum over the test sequences, over the sum of their lengths.
"""

import argparse
import sys

from torch import nn

from pyrovae import cli, data, plots
from pyrovae.data.sound import write_wav
from pyrovae.guides import Combiner, FlowCombiner, MarkovGuide
from pyrovae.inference import ELBO, Evaluation, encode, generate
from pyrovae.inference.latent.codes import decode
from pyrovae.models import DeepMarkovModel, GatedTransition, likelihoods
from pyrovae.networks.dense import MLP
from pyrovae.networks.recurrent import BackwardRNN


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out="runs/deep_markov", epochs=25)
    p.add_argument("--latent", type=int, default=32, help="dimension of z_t")
    p.add_argument("--transition", type=int, default=64, help="hidden units of p(z_t | z_(t-1))")
    p.add_argument("--emission", type=cli.shape_list, default=[64, 64], help="hidden units of p(x_t | z_t)")
    p.add_argument("--rnn", type=int, default=128, help="units of the guide's recurrent network")
    p.add_argument("--kind", choices=("gru", "rnn"), default="rnn", help="of the guide's recurrent network")
    p.add_argument("--flows", type=int, default=0, help="inverse autoregressive steps on each q(z_t | z_(t-1), x)")
    p.add_argument("--kl-start", type=float, default=0.2, help="weight of the rate at the start")
    p.add_argument("--warm-up", type=int, default=5, help="epochs in which it rises to 1")
    p.add_argument("--length", type=int, default=64, help="steps of what is played")
    # Every batch has a length of its own, so there is nothing to compile.
    p.set_defaults(data="chords", batch_size=20, lr=3e-3, schedule="cosine", compile=False)
    p.set_defaults(evaluate=0, num_samples=100)
    return p.parse_args(argv)


def pair(a: argparse.Namespace, train: data.Batch) -> tuple[DeepMarkovModel, MarkovGuide]:
    event = train["x"].shape[2]
    likelihood, decoder = likelihoods.Bernoulli(event), MLP(a.latent, event, a.emission)
    decoder.start_at(likelihood.start(train["x"][train["within"]]))
    transition = GatedTransition(a.latent, a.transition)
    model = DeepMarkovModel(transition, likelihood, decoder, a.latent, a.length)
    encoder = BackwardRNN(event, a.rnn, nn.GRU if a.kind == "gru" else nn.RNN)
    combiner: nn.Module = Combiner(a.latent, a.rnn)
    if a.flows:
        combiner = FlowCombiner(combiner, a.latent, a.rnn, a.flows)
    return model, MarkovGuide(encoder, combiner, a.latent)


def per_step(run: cli.Run, measured: Evaluation) -> dict[str, float]:
    """Nats per time step of the test data."""
    scored = run.scored
    steps = scored["within"].sum().item()
    nats = {name: -measured.per_datum[name].sum().item() / steps for name in ("elbo", "log_evidence")}
    if run.arguments.data == "chords":
        nats["exact"] = -data.chords_log_prob(scored).sum().item() / steps
    return nats


ROWS = {
    "elbo": ("-ELBO", "nats per time step, one draw"),
    "log_evidence": ("-log-evidence", "nats per time step, importance sampling"),
    "exact": ("-log p(x)", "nats per time step, exact: of the grammar that drew the chords"),
}


def script(a: argparse.Namespace) -> None:
    run = cli.Run(a)
    model, guide = pair(a, run.data.train)
    batches = data.ByLength(run.data.train["within"].sum(-1), a.batch_size)
    loss = ELBO(kl_weight=run.annealed(a.warm_up, a.kl_start), analytic=not a.flows)
    run.fit(model, guide, data.Trim(), loss=loss, batches=batches)
    measured = run.evaluate()
    nats = per_step(run, measured)
    run.summary(measured, rows=[(ROWS[n][0], f"{v:.3f}", ROWS[n][1]) for n, v in nats.items()], nats_per_step=nats)
    run.pictures()
    play(run)


def play(run: cli.Run) -> None:
    """Pictures of a test sequence and what the model makes of it, and two new ones; the first of them as sound."""
    one = {name: tensor[:1] for name, tensor in run.test.items()}
    one = run.transform({name: tensor.to(run.device) for name, tensor in one.items()})
    code = encode(run.model, run.guide, one)
    again = decode(run.model, code, given={"within": one["within"]})
    drawn = generate(run.model, 2, mean=False, seed=run.arguments.seed)
    rolls = {
        "a test sequence": one["x"][0],
        "its reconstruction: p(key | z), z the path of means of q(z | x)": again[0],
        "a draw of the model, drawn.wav": drawn[0],
        "another draw": drawn[1],
    }
    run.save("rolls", plots.piano_rolls(rolls))
    write_wav(run.out / "drawn.wav", drawn[0])
    print(f"sound   {run.out / 'drawn.wav'}, {len(drawn[0])} steps drawn from the model")


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
