"""Topics of documents: ProdLDA, whose topics multiply, and the embedded topic model, whose topics mix, side by side.

python examples/topics.py                                      docstrings of Python's standard library, offline
python examples/topics.py --data corpus.tsv --topics 50        your own documents, in OCTIS's form
python examples/topics.py --variants prodlda --topics 10       one of them

A document is a bag of words x. Its topics have the shares softmax(z), with a logistic-normal prior that is nearly a
Dirichlet distribution: p(x, z) = Normal(z; mu, s^2) Multinomial(x; p(shares)). The table has the coherence of the
topics on test documents (NPMI), their diversity, and nats per word.

Data: docstrings of Python's standard library, offline. Time: 40 s of one core.
"""

import argparse
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from pyrovae import data, plots
from pyrovae.examples._shared import (
    Row,
    Trained,
    derive,
    load_data,
    main,
    parser,
    save_picture,
    score,
    scored,
    train,
    values,
    write_comparison,
    write_pictures,
    write_summary,
)
from pyrovae.guides import DirichletGuide, NormalGuide
from pyrovae.inference import (
    ELBO,
    Estimate,
    Evaluation,
    Topics,
    nats_per_word,
    relevance,
    topic_scores,
    topic_shares,
    topics,
)
from pyrovae.models import VAE, MixtureOfTopics, ProductOfTopics, TopicDecoder, likelihoods, priors
from pyrovae.networks.bags import BagEncoder
from pyrovae.output import write_text

VARIANTS = {
    "prodlda": "a product of topics: p(word) is proportional to prod_k p(word | k)^share_k",
    "etm": "a mixture of topics with embeddings: p(word) = sum_k share_k p(word | k)",
    "dirichlet": "the same mixture without embeddings, with a Dirichlet prior and a Dirichlet guide",
}


class Setting(NamedTuple):
    """The defaults of one variant.

    Args:
        concentration: that of the Dirichlet prior; below 1 few topics make a document.
        kl_weight: the weight of the rate.
        dropout: the dropout of the encoder; prodlda drops shares as well.
        prior: c of the prior prod_k Dirichlet(topic k; 1 + c n / K t_k), where t_k are coherent topics and n is the
            number of words of the documents; topics start at t_k. With 0 they start at the frequencies of the words.
    """

    concentration: float
    kl_weight: float
    dropout: float
    prior: float


SETTINGS = {
    "prodlda": Setting(1.0, 1.0, 0.2, 0.0),
    "etm": Setting(0.1, 0.2, 0.5, 0.0),
    "dirichlet": Setting(0.1, 1.0, 0.5, 1.0),
}
"""Chosen by the coherence of the topics on validation documents."""


class TopicModelScores(NamedTuple):
    """What the comparison says of one variant.

    Args:
        found: the words of the topics, their coherence and diversity.
        nats: nats per word of the test documents.
        seconds: the time of training.
    """

    found: Topics
    nats: Estimate
    seconds: float

    def entries(self) -> dict[str, Any]:
        """The scores as the files hold them."""
        return {"npmi": self.found.coherence, "diversity": self.found.diversity, "nats_per_word": self.nats}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/topics", epochs=50)
    p.add_argument("--variants", type=values.names(VARIANTS), default="prodlda,etm", help="which programs to compare")
    p.add_argument("--topics", type=values.positive_int, default=20, help="number of topics, K")
    p.add_argument("--concentration", type=values.positive, help=f"that of the Dirichlet prior; {_defaults(0)}")
    weight = "weight of the rate; for documents of few words take less, such as 0.15"
    p.add_argument("--kl-weight", type=values.non_negative, help=f"{weight}; {_defaults(1)}")
    p.add_argument("--dropout", type=values.below_one, help=f"dropout of the encoder; {_defaults(2)}")
    prior = "words that coherent topics count for in the prior, as a multiple of the words of the documents"
    p.add_argument("--prior", type=values.non_negative, help=f"{prior}; {_defaults(3)}")
    places = "places of words: learned, or from the training documents that words come in together"
    p.add_argument("--embeddings", choices=("learned", "documents"), default="learned", help=places)
    p.add_argument("--embedding", type=values.positive_int, default=100, help="dimension of the embeddings of etm")
    p.add_argument("--hidden", type=values.integers, default=[100, 100], help="hidden units of the encoder")
    p.add_argument("--beta1", type=values.below_one, default=0.95, help="Adam's decay of the mean of gradients")
    relevance = "weight of p(word | topic) in the order of a topic's words, beside p(word | topic) / p(word)"
    p.add_argument("--relevance", type=values.fraction, default=0.8, help=relevance)
    p.set_defaults(data="docstrings", batch_size=200, lr=5e-3, compile=False, evaluate=0, num_samples=100)
    return p.parse_args(argv)


def _defaults(field: int) -> str:
    """What the help says of the defaults of a setting."""
    return "by default " + ", ".join(f"{setting[field]} for {name}" for name, setting in SETTINGS.items())


def setting(flags: argparse.Namespace, variant: str) -> Setting:
    """The defaults of a variant, where the flags do not say otherwise."""
    given = {name: getattr(flags, name) for name in Setting._fields if getattr(flags, name) is not None}
    return SETTINGS[variant]._replace(**given)


def decoder(flags: argparse.Namespace, variant: str, x: torch.Tensor) -> TopicDecoder:
    """From the latents of the topics to the logits of the words."""
    words = x.shape[1]
    if variant == "prodlda":
        return ProductOfTopics(flags.topics, words, dropout=setting(flags, variant).dropout)
    if variant == "dirichlet":
        return MixtureOfTopics(flags.topics, words, embedding=None, simplex=True)
    width = min(flags.embedding, words)
    places = data.word_embeddings(x, width) if flags.embeddings == "documents" else width
    return MixtureOfTopics(flags.topics, words, places)


def pair(flags: argparse.Namespace, variant: str, split: data.Batch) -> tuple[VAE, Any]:
    """Model and guide, whose topics start at the frequencies of the words, or at coherent topics."""
    x, k, chosen = split["x"], flags.topics, setting(flags, variant)
    likelihood = likelihoods.Multinomial(x.shape[1], total=max(1, int(x.sum(1).median())))
    likelihood.check(x)
    words = decoder(flags, variant, x)
    words.start_at(data.word_topics(x, k).log() if chosen.prior else likelihood.start(x))
    if variant == "dirichlet":
        encoder: nn.Module = BagEncoder(x.shape[1], k, flags.hidden, chosen.dropout, spread=2.0)
        return VAE(priors.Dirichlet(k, chosen.concentration), likelihood, words), DirichletGuide(encoder)
    prior = priors.LogisticNormal(k, chosen.concentration)
    spread = [*prior.scale.tolist(), *[1.0] * k]  # the codes of a batch vary as the prior does
    encoder = BagEncoder(x.shape[1], 2 * k, flags.hidden, chosen.dropout, spread=spread)
    return VAE(prior, likelihood, words), NormalGuide(encoder)


def objective(flags: argparse.Namespace, variant: str, model: VAE, split: data.Batch) -> ELBO:
    """The weighted ELBO, and the prior of the topics around those they start at, a Dirichlet distribution for each."""
    chosen, length = setting(flags, variant), split["x"].sum(1).mean().item()
    weight, decoder = chosen.prior * length, cast(TopicDecoder, model.decoder)
    start = decoder.scores().detach().exp()
    log_prior = (lambda: weight * (start * decoder.scores()).sum(-1).mean()) if weight else None
    return ELBO(kl_weight=chosen.kl_weight, analytic=True, log_prior=log_prior)


def run(flags: argparse.Namespace, variant: str, dataset: data.Dataset) -> TopicModelScores:
    """One variant, trained by its flags and scored."""
    torch.manual_seed(flags.seed)
    model, guide = pair(flags, variant, dataset.train)
    loss = objective(flags, variant, model, dataset.train)
    adam = {"lr": flags.lr, "betas": (flags.beta1, 0.999), "weight_decay": flags.weight_decay}
    trained = train(model, guide, data.Scale(), dataset, flags, loss=loss, optim=(torch.optim.AdamW, adam))
    measured, x = score(trained, flags), scored(trained, flags)["x"]
    relevant = relevance(topic_scores(model).cpu(), dataset.train["x"], weight=flags.relevance)
    found = topics(relevant, dataset.vocabulary.words, dataset.test["x"])
    scores = TopicModelScores(found, nats_per_word(measured, x), trained.seconds)
    summarise(trained, measured, scores, flags, variant)
    write_text(flags.out / "topics.txt", f"{found}\n")
    draw(trained, found, flags)
    return scores


def summarise(
    trained: Trained, measured: Evaluation, scores: TopicModelScores, flags: argparse.Namespace, variant: str
) -> None:
    """The closing table of one variant, and its topics."""
    rows = [
        Row.of("nats per word", scores.nats, "of the words in their order"),
        Row("NPMI", f"{scores.found.coherence:z.3f}", "mean coherence of 10 words of each topic, test documents"),
        Row("diversity", f"{scores.found.diversity:.3f}", "share of different words, 25 of each topic"),
    ]
    write_summary(trained, measured, flags, rows=rows, entries={"variant": variant} | scores.entries())
    print(f"\n{scores.found}")


def draw(trained: Trained, found: Topics, flags: argparse.Namespace) -> None:
    """Bars of the words of each topic, and the mean shares of the topics in the documents of each class."""
    write_pictures(trained, flags.out)
    titles = [f"topic {k}, NPMI {value:z.2f}" for k, value in enumerate(found.npmi.tolist())]
    probs = topic_scores(trained.model).softmax(-1)
    save_picture(plots.topic_bars(probs, trained.data.vocabulary.words, titles=titles), flags.out, "topics")
    if "y" not in trained.test or not trained.data.classes:
        return
    shares, y = topic_shares(trained.model, trained.guide, trained.test).cpu(), trained.test["y"].cpu()
    present = [label for label in range(len(trained.data.classes)) if (y == label).any()]
    mean = torch.stack([shares[y == label].mean(0) for label in present])
    names = [f"{k} {' '.join(words[:3])}" for k, words in enumerate(found.words)]
    table = plots.heat(
        mean.T - shares.mean(0)[:, None],
        rows=names,
        columns=[trained.data.classes[label] for label in present],
        unit="share above the mean of all documents",
        title="topics by label",
    )
    save_picture(table, flags.out, "labels")


def tabulate(found: Mapping[str, TopicModelScores]) -> None:
    """Print a row for each variant."""
    print(f"\n{'':<11}{'NPMI':>8}{'diversity':>11}{'nats per word':>20}{'time':>8}")
    for variant, (told, nats, seconds) in found.items():
        print(f"{variant:<11}{told.coherence:>z8.3f}{told.diversity:>11.3f}{Estimate(*nats)!s:>20}{seconds:>6.0f} s")


def script(flags: argparse.Namespace) -> None:
    """Train, score and draw each variant, and compare them."""
    found: dict[str, TopicModelScores] = {}
    dataset = load_data(flags, kind="bags")
    for variant in flags.variants:
        print(f"\n--- {variant}, {VARIANTS[variant]}")
        found[variant] = run(derive(flags, out=flags.out / variant), variant, dataset)
    tabulate(found)
    write_comparison(flags.out, {name: one.entries() | {"seconds": one.seconds} for name, one in found.items()})


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
