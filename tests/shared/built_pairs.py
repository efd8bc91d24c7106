"""The pairs that all tools are tested with: each call of a function in PAIRS builds a new one."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from object_pairs import objects
from small_pair import CLASSES, IMAGE, LATENT, SIZE, Pair
from torch import nn

from pyrovae.data import hide_modalities, incomplete, mcar
from pyrovae.guides import (
    BottomUpGuide,
    Combiner,
    Completed,
    ConditionalGuide,
    Corrupted,
    CountGuide,
    DeltaGuide,
    DirichletGuide,
    ExpertsGuide,
    FlowCombiner,
    FlowGuide,
    FullNormalGuide,
    GaussianNoise,
    GumbelCodeGuide,
    JointGuide,
    LowRankNormalGuide,
    MarkovGuide,
    MixtureGuide,
    NormalGuide,
    PowerSphericalGuide,
    QuantisedGuide,
    Responsibilities,
    SemiSupervisedCountGuide,
    SemiSupervisedGuide,
    SentenceEncoder,
    TopDownGuide,
    VonMisesFisherGuide,
    ZeroFilled,
)
from pyrovae.models import (
    VAE,
    Autoregressive,
    ConditionalNormal,
    ConditionalVAE,
    CountVAE,
    DeepMarkovModel,
    GatedTransition,
    HierarchicalVAE,
    LadderVAE,
    Level,
    LSTMDecoder,
    Masked,
    Mechanism,
    MixtureOfTopics,
    MixtureVAE,
    MultimodalVAE,
    NotAtRandom,
    ProductOfTopics,
    SelfMasking,
    SemiSupervisedCountVAE,
    SemiSupervisedVAE,
    TextVAE,
    TransformerDecoder,
    likelihoods,
    priors,
)
from pyrovae.networks import CausalTransformer, Codebook, Levels
from pyrovae.networks.bags import BagEncoder
from pyrovae.networks.blocks import ConvBlock, DenseBlock
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP
from pyrovae.networks.normed import NormedMLP
from pyrovae.networks.recurrent import BackwardRNN
from pyrovae.networks.shape import Shape, as_shape


def vae(likelihood: likelihoods.Likelihood, *, conv: bool = False) -> Pair:
    if conv:
        encoder, decoder = ConvEncoder(IMAGE, 2 * LATENT, (2, 3)), ConvDecoder(LATENT, likelihood.params_shape, (3, 2))
    else:
        encoder, decoder = MLP(IMAGE, 2 * LATENT, (7,)), MLP(LATENT, likelihood.params_shape, (7,))
    x = torch.rand(SIZE, *IMAGE)
    binary = isinstance(likelihood, likelihoods.Bernoulli) and not likelihood.relaxed
    batch = {"x": x.round() if binary else x}
    return Pair(VAE(priors.StandardNormal(LATENT), likelihood, decoder), NormalGuide(encoder), batch, {"z": (LATENT,)})


def hierarchy(guide: str, levels: int = 3) -> Pair:
    """A chain of dense latents."""
    events = [(4,), (3,), (2,)][:levels]
    conditionals = [normal(above, below) for below, above in pairwise(events)][::-1]
    prior, likelihood = priors.StandardNormal(events[-1][0]), likelihoods.Bernoulli(IMAGE)
    return upwards(HierarchicalVAE(prior, conditionals, likelihood, MLP(events[0], IMAGE, (7,))), guide, events)


def ladder(guide: str) -> Pair:
    """Dense latents, and deterministic states of width 6."""
    levels = [Level(normal(6, width), DenseBlock(6, 6, 5, side=width)) for width in (3, 4)]
    likelihood, decoder = likelihoods.Bernoulli(IMAGE), MLP(6, IMAGE, (7,))
    model = LadderVAE(priors.StandardNormal(2), MLP(2, 6, (5,)), levels, likelihood, decoder)
    return upwards(model, guide, [(4,), (3,), (2,)])


def conv_ladder(guide: str) -> Pair:
    """A dense latent at the top, spatial ones of 3 x 3 and 6 x 5 pixels below."""
    low, high = (4, 3, 3), (4, 6, 5)
    levels = [
        Level(ConditionalNormal(ConvBlock(low, (4, 3, 3), 3), 3), ConvBlock(low, high, 3, side=2)),
        Level(ConditionalNormal(ConvBlock(high, (2, 6, 5), 3), 3), ConvBlock(high, high, 3, side=1)),
    ]
    likelihood, decoder = likelihoods.Bernoulli(IMAGE), ConvBlock(high, IMAGE, 3)
    model = LadderVAE(priors.StandardNormal(2), MLP(2, low, (5,)), levels, likelihood, decoder)
    return upwards(model, guide, [(1, 6, 5), (2, 3, 3), (2,)])


def normal(given: Shape, event: Shape) -> ConditionalNormal:
    """A normal of shape `event`, `(D,)` or `(C, H, W)`, by a small dense network."""
    first, *rest = as_shape(event)
    return ConditionalNormal(MLP(given, (2 * first, *rest), (5,)), 1 + len(rest))


def upwards(model: HierarchicalVAE | LadderVAE, guide: str, events: list[tuple[int, ...]]) -> Pair:
    """A hierarchy with a guide of that kind; `events` are the shapes of z1, z2, ..."""
    latent = {f"z{level}": event for level, event in enumerate(events, 1)}
    batch = {"x": torch.rand(SIZE, *IMAGE).round()}
    if guide == "bottom-up":
        return Pair(model, BottomUpGuide([normal(*two) for two in pairwise([IMAGE, *events])]), batch, latent)
    encoders = [MLP(shape, 5, (5,)) for shape in (IMAGE, *[5] * (len(events) - 1))]
    return Pair(model, TopDownGuide(model, encoders, [normal(5, event) for event in events]), batch, latent)


def conditional(*, labels: bool) -> Pair:
    """p(x | z, y) p(z) given a label, p(x | z, y) p(z | y) given a part of a data point."""
    y = torch.randint(CLASSES, (SIZE,)) if labels else torch.rand(SIZE, CLASSES)
    prior = priors.StandardNormal(LATENT) if labels else ConditionalNormal(MLP(CLASSES, 2 * LATENT, (5,)))
    model = ConditionalVAE(prior, likelihoods.Bernoulli(IMAGE), JointMLP([LATENT, CLASSES], IMAGE, (7,)))
    guide = ConditionalGuide(NormalGuide(JointMLP([IMAGE, CLASSES], 2 * LATENT, (7,))))
    return Pair(model, guide, {"x": torch.rand(SIZE, *IMAGE).round(), "y": y}, {"z": (LATENT,)})


def semi_supervised() -> Pair:
    """M2, in which every other data point has a label."""
    decoder, encoder = JointMLP([LATENT, CLASSES], IMAGE, (7,)), JointMLP([IMAGE, CLASSES], 2 * LATENT, (7,))
    model = SemiSupervisedVAE(priors.StandardNormal(LATENT), likelihoods.Bernoulli(IMAGE), decoder, CLASSES)
    guide = SemiSupervisedGuide(MLP(IMAGE, CLASSES, (7,)), NormalGuide(encoder))
    y = torch.where(torch.arange(SIZE) % 2 == 0, torch.arange(SIZE) % CLASSES, -1)
    return Pair(model, guide, {"x": torch.rand(SIZE, *IMAGE).round(), "y": y}, {"y": (), "z": (LATENT,)})


def counts(likelihood: likelihoods.OverdispersedCounts, *, latent_total: bool = False, normed: bool = False) -> Pair:
    """Counts of seven genes in two batches; totals are given or a latent, and norms are in evaluation mode."""
    net = partial(NormedMLP, hidden=(7,)) if normed else partial(JointMLP, hidden=(7,))
    total = priors.LogNormalTotal(2) if latent_total else None
    model = CountVAE(priors.StandardNormal(LATENT), likelihood, net([LATENT, 2], likelihood.params_shape), total)
    totals = net([7, 2], 2) if latent_total else None
    guide = CountGuide(NormalGuide(net([7, 2], 2 * LATENT)), totals)
    batch = {"x": torch.poisson(torch.rand(SIZE, 7) * 5) + 1, "batch": torch.arange(SIZE) % 2}
    if normed:
        model.eval(), guide.eval()
    latent = {"z": (LATENT,)} | ({"total": ()} if latent_total else {})
    return Pair(model, guide, batch if latent_total else batch | {"total": batch["x"].sum(-1)}, latent)


def semi_supervised_counts() -> Pair:
    """Types of cells, of which every other one is known."""
    pair = counts(likelihoods.NegativeBinomial(7, shares=True))
    conditional = ConditionalNormal(JointMLP([2, CLASSES], 2 * LATENT, (7,)))
    style = NormalGuide(JointMLP([LATENT, CLASSES], 2 * 2, (7,)))
    parts = pair.model.likelihood, pair.model.decoder
    model = SemiSupervisedCountVAE(priors.StandardNormal(2), conditional, *parts, CLASSES)
    guide = SemiSupervisedCountGuide(MLP(LATENT, CLASSES, (7,)), pair.guide.guide, style)
    y = torch.where(torch.arange(SIZE) % 2 == 0, torch.arange(SIZE) % CLASSES, -1)
    return Pair(model, guide, pair.batch | {"y": y}, {"y": (), "u": (2,), "z": (LATENT,)})


def mixture(*, factorised: bool = False) -> Pair:
    """A mixture of learned normals, whose component is a latent."""
    prior = ConditionalNormal(MLP(CLASSES, 2 * LATENT, ()))
    likelihood, decoder = likelihoods.Bernoulli(IMAGE), MLP(LATENT, IMAGE, (7,))
    model = MixtureVAE(priors.OneHot(CLASSES, learned=True), prior, likelihood, decoder)
    guide = JointGuide(MLP(IMAGE, CLASSES, (7,)), NormalGuide(JointMLP([IMAGE, CLASSES], 2 * LATENT, (7,))))
    if factorised:
        shares = Responsibilities(model.components, model.prior)
        guide = JointGuide(shares, NormalGuide(MLP(IMAGE, 2 * LATENT, (7,))), factorised=True)
    return Pair(model, guide, {"x": torch.rand(SIZE, *IMAGE).round()}, {"c": (CLASSES,), "z": (LATENT,)})


def autoencoder(*, denoising: bool = False) -> Pair:
    """A point-mass guide. If denoising, it is in evaluation mode, so that it gets the data that the model scores."""
    pair = vae(likelihoods.Normal(IMAGE, scale=0.5))
    guide = DeltaGuide(MLP(IMAGE, LATENT, (7,)))
    return pair._replace(guide=Corrupted(guide, GaussianNoise()).eval() if denoising else guide)


def with_prior(prior: Callable[[NormalGuide], nn.Module]) -> Pair:
    """A dense pair with that prior, which may use the guide."""
    pair = vae(likelihoods.Bernoulli(IMAGE))
    pair.model.prior = prior(pair.guide)
    return pair


def with_guide(guide: Callable[[nn.Module], nn.Module], params: int) -> Pair:
    """A dense pair with that guide, whose encoder returns `params` numbers."""
    return vae(likelihoods.Bernoulli(IMAGE))._replace(guide=guide(MLP(IMAGE, params, (7,))))


def sphere(guide: Callable[[nn.Module], nn.Module]) -> Pair:
    """A dense pair whose latent is on the unit sphere of `LATENT` dimensions."""
    pair = with_guide(guide, LATENT + 1)
    pair.model.prior = priors.UniformOnSphere(LATENT)
    return pair


def drawn(likelihood: likelihoods.Likelihood) -> Pair:
    """A dense pair on data drawn from the likelihood."""
    shape = likelihood.event_shape
    encoder, decoder = MLP(shape, 2 * LATENT, (7,)), MLP(LATENT, likelihood.params_shape, (7,))
    batch = {"x": likelihood(torch.randn(SIZE, *likelihood.params_shape)).sample()}
    return Pair(VAE(priors.StandardNormal(LATENT), likelihood, decoder), NormalGuide(encoder), batch, {"z": (LATENT,)})


def table() -> likelihoods.Heterogeneous:
    """One column of each kind, and a block of two."""
    columns = {
        "real": likelihoods.Normal(1, "predicted"),
        "positive": likelihoods.LogNormal(1),
        "count": likelihoods.Poisson(1),
        "ordinal": likelihoods.Ordinal(1, 4),
        "type": likelihoods.Categorical(1, 3),
        "block": likelihoods.Laplace(2),
    }
    return likelihoods.Heterogeneous(columns)


def text(decoder: nn.Module) -> Pair:
    """Sentences of one to six tokens of nine."""
    x = torch.randint(3, 9, (SIZE, 6))
    for row, count in enumerate(range(SIZE)):
        x[row, count], x[row, count + 1 :] = 2, 0
    model = TextVAE(priors.StandardNormal(LATENT), Autoregressive(decoder, 6))
    return Pair(model, NormalGuide(SentenceEncoder(9, 2 * LATENT, 4, 5)), {"x": x}, {"z": (LATENT,)})


def markov(*, flow: bool = False) -> Pair:
    """Sequences of one to three steps, with six binary numbers at each."""
    model = DeepMarkovModel(GatedTransition(LATENT, 5), likelihoods.Bernoulli(6), MLP(LATENT, 6, (7,)), LATENT)
    combiner: nn.Module = Combiner(LATENT, 4)
    if flow:
        combiner = FlowCombiner(combiner, LATENT, 4, 1, (5,))
    guide = MarkovGuide(BackwardRNN(6, 4), combiner, LATENT)
    within = torch.arange(3) < torch.tensor([3, 1, 3, 2, 3, 2])[:, None]
    return Pair(model, guide, {"x": torch.rand(SIZE, 3, 6).round(), "within": within}, {"z": (3, LATENT)})


def topics(decoder: nn.Module) -> Pair:
    """Documents of 20 words, nine different ones; in evaluation mode, since batch norm couples draws in training."""
    likelihood = likelihoods.Multinomial(9, 20)
    prior, guide = priors.LogisticNormal(LATENT, [0.5, 1.0, 2.0]), NormalGuide(BagEncoder(9, 2 * LATENT, (7,)))
    if decoder.simplex:
        prior, guide = priors.Dirichlet(LATENT, 0.8), DirichletGuide(BagEncoder(9, LATENT, (7,), normalise=False))
    batch = {"x": likelihood(torch.randn(SIZE, 9)).sample()}
    return Pair(VAE(prior, likelihood, decoder).eval(), guide.eval(), batch, {"z": (LATENT,)})


def masked(likelihood: likelihoods.Likelihood) -> Pair:
    """A dense pair on data drawn from the likelihood, half of which is missing."""
    first, *rest = likelihood.event_shape
    pair, encoder = drawn(likelihood), MLP((2 * first, *rest), 2 * LATENT, (7,))
    batch = incomplete(pair.batch["x"], mcar(pair.batch["x"], 0.5))
    return Pair(Masked(pair.model), ZeroFilled(NormalGuide(encoder), mask=True), batch, pair.latent)


def not_at_random(likelihood: likelihoods.Likelihood, mechanism: nn.Module) -> Pair:
    """The masked pair, in which the values of x decide what is missing."""
    pair = masked(likelihood)
    model = NotAtRandom(pair.model.model, mechanism)
    latent = {**pair.latent, "x_missing": likelihood.event_shape}
    return Pair(model, Completed(pair.guide, model), pair.batch, latent)


def coded(book: nn.Module, guide: type = QuantisedGuide, *, causal: bool = False) -> Pair:
    """A grid of 2 x 2 codes with vectors of R^3."""
    grid, pair = (2, 2), vae(likelihoods.Bernoulli(IMAGE))
    network = CausalTransformer(book, 4, 4, 2, 1)
    prior = priors.CausalCodePrior(network, book, grid) if causal else priors.UniformCodePrior(book, grid)
    encoder = MLP(IMAGE, (book.size if guide is GumbelCodeGuide else 3, *grid), (7,))
    model = VAE(prior, pair.model.likelihood, MLP((3, *grid), IMAGE, (11,)))
    return Pair(model, guide(encoder, book, grid), pair.batch, {"z": (3, *grid)})


def modalities(combine: str, *, missing: bool = True) -> Pair:
    """An image and a label, either of which is missing at some data points."""
    parts: dict[str, likelihoods.Likelihood] = {"x": likelihoods.Bernoulli(IMAGE), "y": likelihoods.Label(CLASSES)}
    decoders = {name: MLP(LATENT, part.params_shape, (7,)) for name, part in parts.items()}
    encoders = {"x": MLP(IMAGE, 2 * LATENT, (7,)), "y": JointMLP([CLASSES], 2 * LATENT, (7,))}
    batch = {"x": torch.rand(SIZE, *IMAGE).round(), "y": torch.arange(SIZE) % CLASSES}
    model = MultimodalVAE(priors.StandardNormal(LATENT), parts, decoders)
    batch = dict(hide_modalities(batch, 0.4, seed=3) if missing else batch)
    return Pair(model, ExpertsGuide(encoders, combine), batch, {"z": (LATENT,)})


# One line each. Every call builds a new pair.
PAIRS: dict[str, Callable[[], Pair]] = {
    "bernoulli": lambda: vae(likelihoods.Bernoulli(IMAGE)),
    "bernoulli-relaxed": lambda: vae(likelihoods.Bernoulli(IMAGE, relaxed=True)),
    "continuous-bernoulli": lambda: vae(likelihoods.ContinuousBernoulli(IMAGE)),
    "normal-fixed": lambda: vae(likelihoods.Normal(IMAGE, scale=0.5)),
    "normal-learned": lambda: vae(likelihoods.Normal(IMAGE, scale="learned")),
    "normal-predicted": lambda: vae(likelihoods.Normal(IMAGE, scale="predicted")),
    "conv-bernoulli": lambda: vae(likelihoods.Bernoulli(IMAGE), conv=True),
    "laplace": lambda: vae(likelihoods.Laplace(IMAGE)),
    "discretized-logistic": lambda: drawn(likelihoods.DiscretizedLogistic(IMAGE)),
    "discretized-logistic-learned": lambda: drawn(likelihoods.DiscretizedLogistic(IMAGE, scale="learned")),
    "discretized-logistic-mixture": lambda: drawn(likelihoods.DiscretizedLogisticMixture(IMAGE, 2)),
    "log-normal": lambda: drawn(likelihoods.LogNormal(7)),
    "categorical": lambda: drawn(likelihoods.Categorical((2, 3), 4)),
    "ordinal": lambda: drawn(likelihoods.Ordinal(7, 4)),
    "poisson": lambda: drawn(likelihoods.Poisson(7)),
    "negative-binomial": lambda: drawn(likelihoods.NegativeBinomial(7)),
    "negative-binomial-predicted": lambda: drawn(likelihoods.NegativeBinomial(7, "predicted")),
    "zero-inflated-negative-binomial": lambda: drawn(likelihoods.ZeroInflatedNegativeBinomial(7)),
    "heterogeneous": lambda: drawn(table()),
    "two-levels-bottom-up": lambda: hierarchy("bottom-up", 2),
    "hierarchy-bottom-up": lambda: hierarchy("bottom-up"),
    "hierarchy-top-down": lambda: hierarchy("top-down"),
    "ladder-bottom-up": lambda: ladder("bottom-up"),
    "ladder-top-down": lambda: ladder("top-down"),
    "conv-ladder-bottom-up": lambda: conv_ladder("bottom-up"),
    "conv-ladder-top-down": lambda: conv_ladder("top-down"),
    "conditional-on-labels": lambda: conditional(labels=True),
    "conditional-on-a-part": lambda: conditional(labels=False),
    "semi-supervised": lambda: semi_supervised(),
    "counts": lambda: counts(likelihoods.NegativeBinomial(7, shares=True, batches=2)),
    "counts-normed": lambda: counts(likelihoods.ZeroInflatedNegativeBinomial(7, shares=True), normed=True),
    "counts-latent-total": lambda: counts(likelihoods.NegativeBinomial(7, shares=True), latent_total=True),
    "semi-supervised-counts": lambda: semi_supervised_counts(),
    "mixture": lambda: mixture(),
    "mixture-factorised": lambda: mixture(factorised=True),
    "mixture-prior": lambda: with_prior(lambda _: priors.MixtureOfNormals(LATENT, 4)),
    "vamp-prior": lambda: with_prior(lambda guide: priors.VampPrior(guide.given, torch.rand(4, *IMAGE))),
    "flow-prior": lambda: with_prior(lambda _: priors.FlowPrior(LATENT, 2, (5,))),
    "full-normal-guide": lambda: with_guide(FullNormalGuide, 9),
    "low-rank-normal-guide": lambda: with_guide(partial(LowRankNormalGuide, rank=2), 12),
    "mixture-guide": lambda: with_guide(partial(MixtureGuide, components=2), 14),
    "flow-guide": lambda: with_guide(partial(FlowGuide, dim=LATENT, context=4, hidden=(5,)), 10),
    "von-mises-fisher-guide": lambda: sphere(VonMisesFisherGuide),
    "power-spherical-guide": lambda: sphere(PowerSphericalGuide),
    "deep-markov": lambda: markov(),
    "deep-markov-flow": lambda: markov(flow=True),
    "masked": lambda: masked(likelihoods.Normal(IMAGE, scale="predicted")),
    "masked-table": lambda: masked(table()),
    "self-masking": lambda: not_at_random(likelihoods.Normal(IMAGE, scale="predicted"), SelfMasking(IMAGE, "large")),
    "not-at-random": lambda: not_at_random(likelihoods.Normal(5), Mechanism(MLP(5, 5, (7,)))),
    "objects": lambda: objects(likelihoods.Normal(IMAGE, scale=0.3)),
    "objects-bernoulli": lambda: objects(likelihoods.Bernoulli(IMAGE), learned=True),
    "experts-product": lambda: modalities("product"),
    "experts-mixture": lambda: modalities("mixture"),
    "experts-mixture-of-products": lambda: modalities("mixture-of-products"),
    "experts-all-present": lambda: modalities("product", missing=False),
    "autoencoder": lambda: autoencoder(),
    "denoising-autoencoder": lambda: autoencoder(denoising=True),
    "codes-nearest": lambda: coded(Codebook(8, 3, 0.9)),
    "codes-levels": lambda: coded(Levels([3, 3, 2])),
    "codes-gumbel": lambda: coded(Codebook(8, 3, None), GumbelCodeGuide),
    "codes-causal": lambda: coded(Codebook(8, 3, 0.9), causal=True),
    "text-lstm": lambda: text(LSTMDecoder(9, LATENT, 4, 5)),
    "topics-product": lambda: topics(ProductOfTopics(LATENT, 9)),
    "topics-mixture": lambda: topics(MixtureOfTopics(LATENT, 9, 4)),
    "topics-dirichlet": lambda: topics(MixtureOfTopics(LATENT, 9, None, simplex=True)),
    "text-transformer": lambda: text(TransformerDecoder(9, LATENT, 6, 4, 2, 1)),
}


# One pair of each structure, for tools that treat all likelihoods, priors and guides alike.
REPRESENTATIVE = [
    "bernoulli",
    "conv-ladder-top-down",
    "hierarchy-bottom-up",
    "hierarchy-top-down",
    "conditional-on-labels",
    "semi-supervised",
    "deep-markov-flow",
    "masked-table",
    "autoencoder",
    "text-lstm",
]
