"""The pair of each cell of benchmarks/speed.py, as pyrovae's own programs, and its weights by name."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from workloads import CONTEXT, KEYS, RECURRENT, TRANSITION, WIDTH, Workload

from pyrovae.guides import Combiner, FlowGuide, MarkovGuide, NormalGuide, TopDownGuide
from pyrovae.models import (
    VAE,
    ConditionalNormal,
    DeepMarkovModel,
    GatedTransition,
    LadderVAE,
    Level,
)
from pyrovae.models.likelihoods import Bernoulli, Normal
from pyrovae.models.priors import FlowPrior, StandardNormal
from pyrovae.networks.blocks import DenseBlock
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.dense import MLP
from pyrovae.networks.recurrent import BackwardRNN

Pair = tuple[nn.Module, nn.Module]


def pair_of(work: Workload) -> Pair:
    """Model and guide, with fresh weights."""
    return {"dense": _dense, "conv": _conv, "ladder": _ladder, "flow": _flow, "markov": _markov}[work.architecture](
        work
    )


def weights_of(pair: Pair) -> dict[str, np.ndarray]:
    """Parameters and buffers of both programs, under `model.` and `guide.`."""
    named = zip(("model", "guide"), pair, strict=True)
    return {f"{side}.{name}": value.numpy() for side, part in named for name, value in part.state_dict().items()}


def load(pair: Pair, weights: Mapping[str, np.ndarray]) -> Pair:
    """The pair with these weights."""
    for side, part in zip(("model.", "guide."), pair, strict=True):
        mine = {name.removeprefix(side): torch.from_numpy(w) for name, w in weights.items() if name.startswith(side)}
        part.load_state_dict(mine)
    return pair


def to_floats(x: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]; a table as it is."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


def _dense(work: Workload) -> Pair:
    activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[work.activation]
    (latent,) = work.latent
    likelihood = Bernoulli(work.event) if work.bernoulli else Normal(work.event, scale=1.0)
    decoder = MLP(latent, work.event, work.hidden[::-1], activation)
    model = VAE(StandardNormal(latent), likelihood, decoder)
    return model, NormalGuide(MLP(work.event, 2 * latent, work.hidden, activation))


def _conv(work: Workload) -> Pair:
    (latent,) = work.latent
    decoder = ConvDecoder(latent, work.event, work.hidden[::-1])
    model = VAE(StandardNormal(latent), Bernoulli(work.event), decoder)
    return model, NormalGuide(ConvEncoder(work.event, 2 * latent, work.hidden))


def _ladder(work: Workload) -> Pair:
    """The ladder of examples/hierarchical_vae.py, z1 first in `work.latent`."""

    def normal(latent: int) -> ConditionalNormal:
        return ConditionalNormal(DenseBlock(WIDTH, 2 * latent, WIDTH))

    *below, top = work.latent
    levels = [Level(normal(latent), DenseBlock(WIDTH, WIDTH, WIDTH, side=latent)) for latent in below[::-1]]
    first, decoder = MLP(top, WIDTH, [WIDTH]), MLP(WIDTH, work.event, [WIDTH])
    model = LadderVAE(StandardNormal(top), first, levels, Bernoulli(work.event), decoder)
    encoders = [MLP(work.event, WIDTH, [WIDTH]), *(DenseBlock(WIDTH, WIDTH, WIDTH) for _ in work.latent[1:])]
    return model, TopDownGuide(model, encoders, [normal(latent) for latent in work.latent])


def _flow(work: Workload) -> Pair:
    (latent,) = work.latent
    prior = FlowPrior(latent, work.layers, [WIDTH])
    model = VAE(prior, Bernoulli(work.event), MLP(latent, work.event, work.hidden[::-1]))
    encoder = MLP(work.event, 2 * latent + CONTEXT, work.hidden)
    return model, FlowGuide(encoder, latent, CONTEXT, work.layers, [WIDTH])


def _markov(work: Workload) -> Pair:
    """The deep Markov model of examples/deep_markov.py, on sequences of one length."""
    (latent,) = work.latent
    transition = GatedTransition(latent, TRANSITION)
    model = DeepMarkovModel(transition, Bernoulli(KEYS), MLP(latent, KEYS, work.hidden), latent, work.event[0])
    return model, MarkovGuide(BackwardRNN(KEYS, RECURRENT, nn.RNN), Combiner(latent, RECURRENT), latent)
