"""Clusters without labels: p(c) p(z | c) p(x | z), and the gradients of the discrete latent c in one table.

python examples/clusters.py                                  c summed out, relaxed, and by the score function
python examples/clusters.py --variants enumerated --seed 1   one of them
python examples/clusters.py --data mnist --epochs 20         the digits of MNIST

The labels serve for the accuracy alone.

Data: 5,000 real digits, offline. Time: 2 min of one core.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from pyrovae import data, plots
from pyrovae.display import plus_minus
from pyrovae.examples._shared import (
    Row,
    Trained,
    add_binarize,
    derive,
    load_data,
    main,
    parser,
    rising_weight,
    save_picture,
    score,
    train,
    values,
    write_comparison,
    write_pictures,
    write_summary,
)
from pyrovae.guides import JointGuide, NormalGuide, Responsibilities
from pyrovae.inference import (
    ELBO,
    ClusterAccuracy,
    Enumerated,
    Evaluation,
    GradientError,
    Linear,
    Objective,
    Relaxed,
    ScoreFunction,
    cluster_accuracy,
    decode,
    encode,
    gradient_error,
)
from pyrovae.models import VAE, ConditionalNormal, MixtureVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP
from pyrovae.numeric import raw_scale

VARIANTS: dict[str, Callable[[argparse.Namespace, float | Linear, int], Objective]] = {
    "enumerated": lambda flags, weight, steps: Enumerated(kl_weight=weight),
    "relaxed": lambda flags, weight, steps: Relaxed(cooling(flags, steps), kl_weight=weight),
    "straight-through": lambda flags, weight, steps: Relaxed(cooling(flags, steps), kl_weight=weight, hard=True),
    "score": lambda flags, weight, steps: ScoreFunction(flags.particles, kl_weight=weight),
}
"""The objective of each variant, by the flags, the weight of the rate and the number of training steps."""

JUDGED: dict[str, Callable[[argparse.Namespace], Objective]] = {
    "enumerated": lambda flags: Enumerated(),
    "relaxed, 1.0": lambda flags: Relaxed(1.0),
    "relaxed, 0.3": lambda flags: Relaxed(0.3),
    "straight-through, 0.3": lambda flags: Relaxed(0.3, hard=True),
    "score, leave one out": lambda flags: ScoreFunction(flags.particles),
    "score, no baseline": lambda flags: ScoreFunction(flags.particles, baseline="none"),
}
"""The gradients that are compared with the exact one, at the same weights."""

LEGEND = """
accuracy   share of test data points in the cluster of their label, under the best matching of clusters and labels
clusters   clusters that hold a test data point
ELBO       nats per test data point"""

GRADIENTS = """
the gradient of the guide on {size} test data points, at the weights of {where}
norm       length of the exact gradient: c summed out, the mean over {samples} draws of z
bias       length of the difference of the mean gradient from it; below the noise of the means it is 0
scale      standard deviation of one gradient"""


class Clustered(NamedTuple):
    """What the comparison says of one variant.

    Args:
        measured: ELBO, rate, distortion and log-evidence.
        accuracy: of the clusters.
        trained: the trained pair.
    """

    measured: Evaluation
    accuracy: ClusterAccuracy
    trained: Trained


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/clusters", epochs=30)
    p.set_defaults(lr=2e-3, schedule="cosine", evaluate=0, num_samples=10)
    p.add_argument(
        "--variants", type=values.names(VARIANTS), default=",".join(VARIANTS), help="which gradients to train with"
    )
    p.add_argument("--components", type=values.positive_int, default=10, help="number of clusters, K")
    p.add_argument("--latent", type=values.positive_int, default=10, help="dimension of z")
    p.add_argument("--hidden", type=values.integers, default=[256, 128], help="widths of the dense layers")
    p.add_argument("--hot", type=values.positive, default=1.0, help="temperature at the first step, for relaxed draws")
    p.add_argument("--cold", type=values.positive, default=0.3, help="temperature from half of the steps on")
    p.add_argument("--particles", type=values.positive_int, default=8, help="draws of the score function")
    p.add_argument(
        "--joint", action="store_true", help="q(z | x, c) in place of q(z | x), from random weights; K times the time"
    )
    p.add_argument("--start-epochs", type=values.whole, default=20, help="passes of the VAE that starts the pair")
    p.add_argument("--start-weight", type=values.non_negative, default=0.1, help="weight of the rate of that VAE")
    p.add_argument(
        "--fitted", type=values.positive_int, default=10_000, help="training data that the mixture is fitted to"
    )
    p.add_argument("--warm-up", type=values.whole, default=10, help="epochs in which the weight of the rate rises to 1")
    p.add_argument(
        "--judged", type=values.whole, default=50, help="test data points whose gradients are compared; 0: none"
    )
    p.add_argument("--gradients", type=values.positive_int, default=50, help="draws of each compared gradient")
    add_binarize(p)
    return p.parse_args(argv)


def cooling(flags: argparse.Namespace, steps: int) -> Linear:
    """The temperature of relaxed draws."""
    return Linear(flags.hot, flags.cold, max(1, steps // 2))


def pair(flags: argparse.Namespace, split: data.Batch) -> tuple[MixtureVAE, JointGuide]:
    """Model and guide; the decoder starts at the mean of the data."""
    shape, k, dim = tuple(split["x"].shape[1:]), flags.components, flags.latent
    likelihood, decoder = likelihoods.Bernoulli(shape), MLP(dim, shape, flags.hidden[::-1])
    decoder.start_at(likelihood.start(data.excerpt(split["x"])))
    prior = ConditionalNormal(JointMLP([k], 2 * dim, []))
    model = MixtureVAE(priors.OneHot(k, learned=True), prior, likelihood, decoder)
    if flags.joint:
        classifier = MLP(shape, k, flags.hidden)
        return model, JointGuide(classifier, NormalGuide(JointMLP([shape, k], 2 * dim, flags.hidden)))
    shares = Responsibilities(model.components, model.prior)
    return model, JointGuide(shares, NormalGuide(MLP(shape, 2 * dim, flags.hidden)), factorised=True)


def start(flags: argparse.Namespace, dataset: data.Dataset, model: MixtureVAE, guide: JointGuide) -> None:
    """Train decoder and encoder as a plain VAE with a small weight of the rate, and fit the mixture to its codes."""
    from sklearn.mixture import GaussianMixture

    plain = VAE(priors.StandardNormal(flags.latent), model.likelihood, model.decoder)
    flags = derive(flags, out=flags.out / "start", epochs=flags.start_epochs)
    train(plain, guide.guide, transform(flags), dataset, flags, loss=ELBO(kl_weight=flags.start_weight))
    few = {"x": dataset.train["x"][: flags.fitted]}
    codes = encode(plain, guide.guide, few, transform=data.Scale())["z"].double().cpu().numpy()
    found = GaussianMixture(flags.components, covariance_type="diag", random_state=flags.seed).fit(codes)
    loc, scale = torch.from_numpy(found.means_), torch.from_numpy(found.covariances_).sqrt()
    prior: Any = model.prior
    components: Any = model.components
    first = prior.network.mlp.layers[0]
    with torch.no_grad():
        first.weight.copy_(torch.cat([loc, raw_scale(scale)], 1).mT)
        first.bias.zero_()
        components.logits.copy_(torch.from_numpy(found.weights_).log())


def transform(flags: argparse.Namespace) -> data.Binarize:
    """The binarisation of grey levels."""
    return data.Binarize(flags.binarize, seed=flags.seed)


def run(
    flags: argparse.Namespace, variant: str, dataset: data.Dataset, model: MixtureVAE, guide: JointGuide
) -> Clustered:
    """One variant, trained by the flags and scored; its run folder is `flags.out`."""
    steps = flags.epochs * -(-len(dataset.train["x"]) // flags.batch_size)
    weight = rising_weight(dataset, flags, epochs=flags.warm_up, start=flags.start_weight)
    objective = VARIANTS[variant](flags, weight, steps)
    trained = train(model, guide, transform(flags), dataset, flags, loss=objective)
    measured = score(trained, flags)
    found = cluster_accuracy(model, guide, trained.test, transform=trained.transform)
    share = f"{plus_minus(100 * found.value, 100 * found.error)} %"
    rows = [Row("accuracy", share, f"of {found.used} clusters, all test data, labels matched one to one")]
    write_summary(trained, measured, flags, rows=rows, entries={"variant": variant} | entries(found))
    write_pictures(trained, flags.out)
    return Clustered(measured, found, trained)


def entries(found: ClusterAccuracy) -> dict[str, Any]:
    """The accuracy, as the files hold it."""
    return {"accuracy": found.value, "clusters": found.used, "counts": found.counts.tolist()}


def tabulate(found: Mapping[str, Clustered]) -> None:
    """Print a row for each variant, and the legend."""
    print(f"\n{'':<18}{'accuracy':>18}{'clusters':>10}{'ELBO':>20}{'evidence':>20}{'time':>8}")
    for variant, (measured, accuracy, trained) in found.items():
        share = f"{plus_minus(100 * accuracy.value, 100 * accuracy.error)} %"
        print(
            f"{variant:<18}{share:>18}{accuracy.used:>10}{measured.elbo!s:>20}{measured.log_evidence!s:>20}"
            f"{trained.seconds:>6.0f} s"
        )
    print(LEGEND)


def judge(
    flags: argparse.Namespace, found: Mapping[str, Clustered], model: MixtureVAE, guide: JointGuide
) -> dict[str, dict[str, GradientError]]:
    """Compare gradients at the weights before training, and at those of the first variant."""
    variant, one = next(iter(found.items()))
    rows = {name: tensor[: flags.judged].to(one.trained.device) for name, tensor in one.trained.test.items()}
    batch, device = one.trained.transform(rows), one.trained.device
    places = {"the start": (model.to(device), guide.to(device)), variant: (one.trained.model, one.trained.guide)}
    return {
        where: {
            name: gradient_error(*at, batch, make(flags), Enumerated(2), num_samples=flags.gradients)
            for name, make in JUDGED.items()
        }
        for where, at in places.items()
    }


def tabulate_gradients(flags: argparse.Namespace, places: Mapping[str, Mapping[str, GradientError]]) -> None:
    """Print a row for each gradient."""
    for where, table in places.items():
        print(GRADIENTS.format(size=flags.judged, where=where, samples=2 * flags.gradients))
        print(f"\n{'':<24}{'norm':>10}{'bias':>10}{'noise':>10}{'scale':>10}")
        for name, one in table.items():
            print(f"{name:<24}{one.norm:>10.3g}{one.bias:>10.3g}{one.noise:>10.3g}{one.scale:>10.3g}")


def draw(flags: argparse.Namespace, found: Mapping[str, Clustered]) -> None:
    """What each cluster of the first variant generates, ten draws a row."""
    variant, one = next(iter(found.items()))
    if one.trained.test["x"].dim() != 4:
        return
    model: Any = one.trained.model
    c = torch.eye(flags.components, device=one.trained.device).repeat_interleave(10, 0)
    with torch.random.fork_rng():
        torch.manual_seed(flags.seed)
        images = decode(model, {"c": c, "z": model.prior(c).sample()}).cpu()
    labels = [f"label {label}" if label >= 0 else "none" for label in one.accuracy.labels.tolist()]
    title = f"{variant}: ten draws from each cluster, and the label that it matches"
    save_picture(plots.table(images.unflatten(0, (-1, 10)), rows=labels, title=title), flags.out, "clusters")


def script(flags: argparse.Namespace) -> None:
    """Start the pair, train and score each variant from there, and compare them and their gradients."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags, labels=True)
    model, guide = pair(flags, dataset.train)
    if not flags.joint:
        print("\n--- start")
        start(flags, dataset, model, guide)
        held = transform(flags).prepare(dataset.test)
        before = cluster_accuracy(model, guide, held, transform=transform(flags))
        print(f"        a mixture fitted to the codes of a VAE: accuracy {before.value:.2%}")
    found: dict[str, Clustered] = {}
    for variant in flags.variants:
        print(f"\n--- {variant}")
        found[variant] = run(derive(flags, out=flags.out / variant), variant, dataset, *copy.deepcopy((model, guide)))
    tabulate(found)
    table = {
        variant: {"elbo": one.measured.elbo, "log_evidence": one.measured.log_evidence, "seconds": one.trained.seconds}
        | entries(one.accuracy)
        for variant, one in found.items()
    }
    gradients = judge(flags, found, model, guide) if flags.judged else {}
    tabulate_gradients(flags, gradients)
    written = {where: {name: vars(one) for name, one in rows.items()} for where, rows in gradients.items()}
    write_comparison(flags.out, table | ({"gradients": written} if written else {}))
    draw(flags, found)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
