"""Image and label as two modalities, p(z) p(x | z) p(y | z): either may be missing, and each is drawn from the other.

python examples/multimodal.py                                  product of experts, mixture, and mixture of products
python examples/multimodal.py --combine product --rate 0.5     half of the images and labels are missing in training
python examples/multimodal.py --data mnist --combine product   the full MNIST

Data: 5,000 real digits with labels, offline. Time: 80 s of one core.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pyrovae import data, plots
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
    scored,
    train,
    values,
    write_comparison,
    write_summary,
)
from pyrovae.guides import ExpertsGuide
from pyrovae.inference import ELBO, IWAE, SubsetEvidence, draw_modality, encode, predict_modality, subset_evidence
from pyrovae.models import MultimodalVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

MODALITIES = ("x", "y")
"""Image and label."""

SUBSETS: dict[str, list[list[str]]] = {
    "product": [["x", "y"], ["x"], ["y"]],
    "mixture": [["x", "y"]],
    "mixture-of-products": [["x", "y"]],
}
"""The subsets that a data point shows in training: a mixture draws from the experts of all subsets by itself."""

PER_LABEL = 10
"""Images drawn from each label."""

LABEL_WEIGHT = 50
"""How often Wu & Goodman (2018) count the log-probability of the label in their loss on MNIST."""


class Found(NamedTuple):
    """What one guide gives.

    Args:
        trained: the trained pair.
        evidence: ELBO, rate and evidence of image, label and both.
        weighted: the loss of Wu & Goodman, the sum of the negative ELBOs of both, image and label, with their weight.
        accuracy: the share of the test images whose most probable label is theirs.
        coherence: the share of the images drawn from a label that the pair reads as that label.
        drawn: images drawn from each label, `(PER_LABEL, K, C, H, W)`.
    """

    trained: Trained
    evidence: SubsetEvidence
    weighted: float
    accuracy: float
    coherence: float
    drawn: Tensor


def subsets(text: str) -> list[list[str]]:
    """`x+y,x` as lists of modalities."""
    found = [part.split("+") for part in text.split(",")]
    if any(name not in MODALITIES for subset in found for name in subset):
        raise argparse.ArgumentTypeError(f"requires subsets of x and y, for example x+y,x,y, got {text!r}")
    return found


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/multimodal", epochs=30)
    p.add_argument("--combine", type=values.names(SUBSETS), default=",".join(SUBSETS), help="how experts are combined")
    shown = "subsets that data points show in training, by chance; x+y,x,y for a product, x+y for a mixture"
    p.add_argument("--subsets", type=subsets, help=shown)
    p.add_argument("--rate", type=values.below_one, default=0.0, help="share of images and of labels that are missing")
    p.add_argument("--particles", type=values.positive_int, default=1, help="draws per step; several make it an IWAE")
    p.add_argument(
        "--hidden", type=values.integers, default=[400], help="widths of the dense layers, for example 500,500"
    )
    p.add_argument("--latent", type=values.positive_int, default=20, help="latent dimension")
    p.add_argument("--prior", choices=("normal", "mixture"), default="normal", help="p(z); the mixture is learned")
    p.add_argument("--components", type=values.positive_int, default=200, help="normals of a learned mixture")
    p.add_argument("--warm-up", type=values.whole, default=10, help="epochs in which the weight of the rate rises to 1")
    weight = f"how often log p(y | z) counts in training; {LABEL_WEIGHT} in Wu & Goodman (2018)"
    p.add_argument("--label-weight", type=values.positive, default=1.0, help=weight)
    add_binarize(p)
    p.set_defaults(schedule="cosine", lr=2e-3, num_samples=200)
    flags = p.parse_args(argv)
    if flags.particles > 1 and flags.label_weight != 1:
        p.error("--label-weight requires one particle: the bound of several has no weights. Leave --particles out.")
    return flags


def pair(flags: argparse.Namespace, split: data.Batch) -> tuple[MultimodalVAE, ExpertsGuide]:
    """p(z) p(x | z) p(y | z), and the guide of both experts; the decoders start at the mean of the data."""
    shape, classes, latent = tuple(split["x"].shape[1:]), int(split["y"].max()) + 1, flags.latent
    parts: dict[str, Any] = {"x": likelihoods.Bernoulli(shape), "y": likelihoods.Label(classes)}
    decoders = {name: MLP(latent, part.params_shape, flags.hidden[::-1]) for name, part in parts.items()}
    decoders["x"].start_at(parts["x"].start(data.excerpt(split["x"])))
    encoders: dict[str, nn.Module] = {
        "x": MLP(shape, 2 * latent, flags.hidden),
        "y": JointMLP([classes], 2 * latent, flags.hidden[:1]),
    }
    mixed = flags.prior == "mixture"
    prior = priors.MixtureOfNormals(latent, flags.components) if mixed else priors.StandardNormal(latent)
    return MultimodalVAE(prior, parts, decoders), ExpertsGuide(encoders, flags.combine)


def run(flags: argparse.Namespace) -> Found:
    """One guide, trained by the flags and scored; its run folder is `flags.out`."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags, kind="images", labels=True)
    model, guide = pair(flags, dataset.train)
    whole = data.Binarize(flags.binarize, seed=flags.seed)
    shown = data.Subsets(MODALITIES, whole, flags.subsets or SUBSETS[flags.combine])
    if flags.rate:
        dataset = replace(dataset, train=data.hide_modalities(dataset.train, flags.rate, seed=flags.seed))
    loss = (
        IWAE(flags.particles)
        if flags.particles > 1
        else ELBO(kl_weight=rising_weight(dataset, flags, epochs=flags.warm_up), site_weights={"y": flags.label_weight})
    )
    trained = replace(train(model, guide, shown, dataset, flags, loss=loss), transform=whole)
    trained = replace(trained, test=whole.prepare(dataset.test))
    found = examine(trained, flags)
    more = entries(found) | {"combine": flags.combine}
    write_summary(trained, found.evidence.evaluations[MODALITIES], flags, rows=rows(found), entries=more)
    save_picture(plots.curves(trained.history.rows), flags.out, "curves")
    return found


def examine(trained: Trained, flags: argparse.Namespace) -> Found:
    """The evidence of each subset, labels from images, and images from labels."""
    test, pair = scored(trained, flags), (trained.model, trained.guide)
    options: dict[str, Any] = {"transform": trained.transform, "seed": flags.seed}
    evidence = subset_evidence(*pair, test, num_samples=flags.num_samples, progress=not flags.quiet, **options)
    images = {"x": test["x"]}
    labels = predict_modality(*pair, images, "y", num_samples=min(flags.num_samples, 100), **options).argmax(-1).cpu()
    classes = torch.arange(int(test["y"].max()) + 1)
    drawn = draw_modality(*pair, {"y": classes}, "x", PER_LABEL, seed=flags.seed)
    again = predict_modality(*pair, {"x": drawn.flatten(0, 1)}, "y", seed=flags.seed).argmax(-1).cpu()
    coherence = (again == classes.repeat(PER_LABEL)).double().mean().item()
    means = draw_modality(*pair, {"y": classes}, "x", PER_LABEL, mean=True, seed=flags.seed)
    accuracy = (labels == test["y"]).double().mean().item()
    return Found(
        trained, evidence, weighted_loss(trained, evidence, test, flags.seed), accuracy, coherence, means.cpu()
    )


def weighted_loss(trained: Trained, evidence: SubsetEvidence, test: data.Batch, seed: int) -> float:
    """Minus the ELBOs of both, of image and of label, where -log p(y | z) counts `LABEL_WEIGHT` times."""
    total = -sum(one.elbo.value for one in evidence.evaluations.values())
    model: Any = trained.model
    for names in (("x", "y"), ("y",)):
        shown = {name: tensor for name, tensor in test.items() if name in names}
        transform = trained.transform if "x" in names else None
        z = encode(model, trained.guide, shown, transform=transform, mean=False, seed=seed)["z"]
        with torch.no_grad():
            given = model.likelihoods["y"](model.decoders["y"](z))  # p(y | z)
            total -= (LABEL_WEIGHT - 1) * given.log_prob(test["y"].to(z.device)).mean().item()
    return total


def rows(found: Found) -> list[Row]:
    """The further rows of the closing table."""
    parts = [
        Row.of(f"-log p({','.join(names)})", one.log_evidence.scaled(-1), f"ELBO {one.elbo}")
        for names, one in found.evidence.evaluations.items()
    ]
    label = found.evidence.conditional(["y"], ["x"]).scaled(-1)
    return [
        *parts,
        Row.of("-log p(y|x)", label, "nats per label, the difference of two rows"),
        Row(
            "MVAE's loss",
            f"{found.weighted:.2f}",
            f"nats, three negative ELBOs, the label counted {LABEL_WEIGHT} times",
        ),
        Row("accuracy", f"{found.accuracy:.2%}", "labels from images"),
        Row("coherence", f"{found.coherence:.0%}", "images from labels, read by the pair itself"),
    ]


def entries(found: Found) -> dict[str, Any]:
    """The same, as the files hold it."""
    evidence = {
        "+".join(names): {"elbo": one.elbo, "rate": one.rate, "log_evidence": one.log_evidence}
        for names, one in found.evidence.evaluations.items()
    }
    return {
        "subsets": evidence,
        "weighted_loss": found.weighted,
        "accuracy": found.accuracy,
        "coherence": found.coherence,
    }


def tabulate(found: Mapping[str, Found]) -> None:
    """Print a row for each guide."""
    print(f"\n{'':<21}{'log p(x,y)':>12}{'log p(x)':>11}{'log p(y)':>11}{'accuracy':>11}{'coherence':>11}{'time':>8}")
    for name, one in found.items():
        both, x, y = (one.evidence.evaluations[s].log_evidence.value for s in (("x", "y"), ("x",), ("y",)))
        print(
            f"{name:<21}{both:>12.2f}{x:>11.2f}{y:>11.2f}{one.accuracy:>11.1%}{one.coherence:>11.0%}"
            f"{one.trained.seconds:>6.0f} s"
        )


def script(flags: argparse.Namespace) -> None:
    """Train and score each guide, and compare them."""
    found: dict[str, Found] = {}
    for name in flags.combine:
        print(f"\n--- {name}")
        own = argparse.Namespace(**vars(derive(flags, out=flags.out / name)) | {"combine": name})
        found[name] = run(own)
        title = f"{name}: images drawn from their label"
        save_picture(plots.paths(found[name].drawn, title=title), flags.out, name)
    tabulate(found)
    write_comparison(flags.out, {name: entries(one) | {"seconds": one.trained.seconds} for name, one in found.items()})


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
