"""The pairs of benchmarks/speed.py as NumPyro programs, with the weights of pyrovae's own pairs.

Networks are functions of nested dicts of arrays, registered by `numpyro.module`. Images are NHWC, and dense weights
`(in, out)`, as in JAX's own libraries. Sequences run in NumPyro's `scan`, which is `lax.scan`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array, lax
from numpyro.contrib.control_flow import scan
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform
from workloads import KEYS, Workload

Weights = dict[str, Any]
Program = Callable[[Array], None]


def nested(flat: dict[str, np.ndarray], work: Workload) -> Weights:
    """Weights by module, in JAX's layout: dense `(in, out)`, convolutions HWIO."""
    tree: Weights = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        part = tree
        for step in path:
            part = part.setdefault(step, {})
        part[last] = jnp.asarray(_layout(name, value, work))
    return tree


def _layout(name: str, value: np.ndarray, work: Workload) -> np.ndarray:
    if name == "guide.encoder.head.weight" and value.ndim == 2:  # its input is flattened CHW; here HWC
        side = round((value.shape[1] / work.hidden[-1]) ** 0.5)
        return value.reshape(-1, work.hidden[-1], side, side).transpose(2, 3, 1, 0).reshape(-1, len(value))
    if name.startswith("model.decoder.head."):  # its output is CHW
        side = round((len(value) / work.hidden[-1]) ** 0.5)
        value = np.moveaxis(value.reshape(work.hidden[-1], side * side, -1), 1, 0).reshape(value.shape)
    if value.ndim == 4 and name.startswith("model.decoder"):  # transposed: (in, out, H, W), flipped
        return np.ascontiguousarray(value[:, :, ::-1, ::-1].transpose(2, 3, 0, 1))
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return value.T if value.ndim == 2 else value


def module(name: str, weights: Weights, apply: Callable[..., Any]) -> Callable[..., Any]:
    """A network whose initial weights are given."""
    return numpyro.module(name, (lambda rng, shape: (None, weights), apply), (1,))


def linear(p: Weights, x: Array) -> Array:
    return jnp.dot(x, p["weight"]) + p["bias"]


def mlp(activation: Callable[[Array], Array] = jax.nn.relu) -> Callable[[Weights, Array], Array]:
    """The dense network of weights `{"layers": {"0": ..., "2": ...}}`."""

    def apply(p: Weights, x: Array) -> Array:
        *hidden, last = sorted(p["layers"], key=int)
        for layer in hidden:
            x = activation(linear(p["layers"][layer], x))
        return linear(p["layers"][last], x)

    return apply


def bounded_scale(raw: Array) -> Array:
    return jnp.exp(7.0 * jnp.tanh(raw / 7.0))


def normal(params: Array) -> dist.Normal:
    loc, raw_scale = jnp.split(params, 2, -1)
    return dist.Normal(loc, bounded_scale(raw_scale))


def standard_normal(dim: int) -> dist.Distribution:
    return dist.Normal(jnp.zeros(dim), 1.0).to_event(1)


# --------------------------------------------------------------------------------------------- images


def convolve(p: Weights, x: Array) -> Array:
    """A 3x3 convolution of stride 2."""
    dims = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, p["weight"], (2, 2), ((1, 1), (1, 1)), dimension_numbers=dims) + p["bias"]


def deconvolve(p: Weights, x: Array, size: int) -> Array:
    """A transposed 3x3 convolution of stride 2, to images of that size."""
    dims, pad = ("NHWC", "HWIO", "NHWC"), (1, 1 + size - 2 * x.shape[1] + 1)
    out = lax.conv_general_dilated(x, p["weight"], (1, 1), (pad, pad), lhs_dilation=(2, 2), dimension_numbers=dims)
    return out + p["bias"]


def conv_encoder(p: Weights, x: Array) -> Array:
    h = x.reshape(len(x), 28, 28, 1)
    for layer in sorted(p["convolutions"], key=int):
        h = jax.nn.relu(convolve(p["convolutions"][layer], h))
    return linear(p["head"], h.reshape(len(x), -1))


def conv_decoder(p: Weights, z: Array) -> Array:
    h = linear(p["head"], z)
    first, *_ = layers = sorted(p["convolutions"], key=int)
    h = h.reshape(len(z), 4, 4, p["convolutions"][first]["weight"].shape[2])
    for layer, size in zip(layers, (7, 14, 28), strict=True):
        h = deconvolve(p["convolutions"][layer], jax.nn.relu(h), size)
    return h.reshape(len(z), 1, 28, 28)


def vae(work: Workload, weights: Weights) -> tuple[Program, Program]:
    """A normal prior and guide; dense or convolutional networks."""
    dense = mlp({"relu": jax.nn.relu, "tanh": jnp.tanh}[work.activation])
    encoder, decoder = (dense, dense) if work.architecture == "dense" else (conv_encoder, conv_decoder)
    (latent,) = work.latent

    def model(x: Array) -> None:
        decode = module("decoder", weights["model"]["decoder"], decoder)
        with numpyro.plate("data", len(x)):
            output = decode(numpyro.sample("z", standard_normal(latent)))
            scored = dist.Bernoulli(logits=output) if work.bernoulli else dist.Normal(output, 1.0)
            numpyro.sample("x", scored.to_event(len(work.event)), obs=x)

    def guide(x: Array) -> None:
        encode = module("encoder", weights["guide"]["encoder"], encoder)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", normal(encode(x)).to_event(1))

    return model, guide


# --------------------------------------------------------------------------------------------- ladder


def block(p: Weights, h: Array, *z: Array) -> Array:
    """`pyrovae.networks.blocks.DenseBlock`."""
    shortcut = linear(p["shortcut"], h) if "shortcut" in p else h
    inner = linear(p["inner"], jnp.concatenate([jax.nn.relu(h), *z], -1))
    return shortcut + linear(p["outer"], jnp.concatenate([jax.nn.relu(inner), *z], -1))


def top_down(p: Weights, draw: Callable[[str, Any], Array], top: int) -> Array:
    """Draw from the top down, and return the input of the decoder."""
    depth = 1 + len(p["levels"])
    h = mlp()(p["first"], draw(f"z{depth}", dist.Normal(jnp.zeros(top), 1.0)))
    for i, number in enumerate(range(depth - 1, 0, -1)):
        level = p["levels"][str(i)]
        z = draw(f"z{number}", normal(block(level["conditional"]["network"], h)))
        h = block(level["step"], h, z)
    return h


def ladder(work: Workload, weights: Weights) -> tuple[Program, Program]:
    """A ladder, and the guide from the top down through its networks."""
    top = work.latent[-1]

    def model(x: Array) -> None:
        p = numpyro.param("model", weights["model"])
        with numpyro.plate("data", len(x)):
            h = top_down(p, lambda name, prior: numpyro.sample(name, prior.to_event(1)), top)
            numpyro.sample("x", dist.Bernoulli(logits=mlp()(p["decoder"], h)).to_event(1), obs=x)

    def guide(x: Array) -> None:
        p, q = numpyro.param("model", weights["model"]), numpyro.param("guide", weights["guide"])
        d, messages = mlp()(q["encoders"]["0"], x), {}
        for i in range(len(work.latent)):
            d = block(q["encoders"][str(i)], d) if i else d
            messages[f"z{i + 1}"] = normal(block(q["messages"][str(i)]["network"], d))

        def draw(name: str, prior: dist.Normal) -> Array:
            message = messages[name]
            if name == f"z{len(work.latent)}":
                return numpyro.sample(name, message.to_event(1))
            a, b = prior.scale**-2, message.scale**-2
            loc = (a * prior.loc + b * message.loc) / (a + b)
            return numpyro.sample(name, dist.Normal(loc, lax.rsqrt(a + b)).to_event(1))

        with numpyro.plate("data", len(x)):
            top_down(p, draw, top)

    return model, guide


# ---------------------------------------------------------------------------------------------- flows


class Coupling(Transform):
    """`pyrovae.networks.bijections.Coupling`."""

    domain = codomain = constraints.real_vector

    def __init__(self, p: Weights) -> None:
        self.p = p

    def _affine(self, name: str, x: Array) -> tuple[Array, Array]:
        shift, raw = jnp.split(mlp()(self.p[name], x), 2, -1)
        return shift, 2 * jnp.tanh(raw / 2)

    def call_with_intermediates(self, x: Array) -> tuple[Array, Array]:
        a, b = x[..., ::2], x[..., 1::2]
        shift, log_scale = self._affine("odd", a)
        b, log_det = b * jnp.exp(log_scale) + shift, log_scale.sum(-1)
        shift, log_scale = self._affine("even", b)
        return jnp.concatenate([a * jnp.exp(log_scale) + shift, b], -1), log_det + log_scale.sum(-1)

    def __call__(self, x: Array) -> Array:
        return self.call_with_intermediates(x)[0]

    def _inverse(self, y: Array) -> Array:
        half = (y.shape[-1] + 1) // 2
        a, b = y[..., :half], y[..., half:]
        shift, log_scale = self._affine("even", b)
        a = (a - shift) * jnp.exp(-log_scale)
        shift, log_scale = self._affine("odd", a)
        b = (b - shift) * jnp.exp(-log_scale)
        return jnp.stack([a, b], -1).reshape(y.shape)

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: Any = None) -> Array:
        if intermediates is not None:
            return intermediates
        half = (y.shape[-1] + 1) // 2
        return self._affine("odd", x[..., ::2])[1].sum(-1) + self._affine("even", y[..., half:])[1].sum(-1)

    def tree_flatten(self) -> tuple[Any, Any]:
        return (self.p,), (("p",), {})


class InverseAutoregressive(Transform):
    """`pyrovae.networks.bijections.InverseAutoregressive`, given its context."""

    domain = codomain = constraints.real_vector

    def __init__(self, p: Weights, masks: Weights, context: Array) -> None:
        self.p, self.masks, self.context = p, masks, context

    def call_with_intermediates(self, x: Array) -> tuple[Array, Array]:
        h = jnp.concatenate([self.context, x], -1)
        names = sorted(self.p, key=int)
        for name in names:
            h = jnp.dot(h, self.p[name]["weight"] * self.masks[name]) + self.p[name]["bias"]
            h = jax.nn.relu(h) if name != names[-1] else h
        loc, raw = jnp.split(h, 2, -1)
        log_gate = jax.nn.log_sigmoid(raw + 2)
        z = x * jnp.exp(log_gate) - loc * jnp.expm1(log_gate)
        return z[..., ::-1], log_gate.sum(-1)

    def __call__(self, x: Array) -> Array:
        return self.call_with_intermediates(x)[0]

    def _inverse(self, y: Array) -> Array:
        raise NotImplementedError("The density of a draw is known from the draw.")

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: Any = None) -> Array:
        return self.call_with_intermediates(x)[1] if intermediates is None else intermediates

    def tree_flatten(self) -> tuple[Any, Any]:
        return (self.p, self.masks, self.context), (("p", "masks", "context"), {})


def flow(work: Workload, weights: Weights) -> tuple[Program, Program]:
    """A prior of couplings, a guide of inverse autoregressive steps."""
    (latent,) = work.latent
    layers = [weights["guide"]["steps"][str(i)]["network"]["layers"] for i in range(work.layers)]
    masks = [{name: p["mask"] for name, p in layer.items()} for layer in layers]
    free = [{n: {"weight": p["weight"], "bias": p["bias"]} for n, p in layer.items()} for layer in layers]

    def model(x: Array) -> None:
        decode = module("decoder", weights["model"]["decoder"], mlp())
        steps = numpyro.param("couplings", weights["model"]["prior"]["steps"])
        couplings = [Coupling(steps[str(i)]) for i in range(work.layers)]
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.TransformedDistribution(standard_normal(latent), couplings))
            numpyro.sample("x", dist.Bernoulli(logits=decode(z)).to_event(1), obs=x)

    def guide(x: Array) -> None:
        encode = module("encoder", weights["guide"]["encoder"], mlp())
        steps = numpyro.param("steps", free)
        loc, raw_scale, context = jnp.split(encode(x), (latent, 2 * latent), -1)
        flows = [InverseAutoregressive(p, mask, context) for p, mask in zip(steps, masks, strict=True)]
        with numpyro.plate("data", len(x)):
            base = dist.Normal(loc, bounded_scale(raw_scale)).to_event(1)
            numpyro.sample("z", dist.TransformedDistribution(base, flows))

    return model, guide


# ------------------------------------------------------------------------------------------ sequences


def transition(p: Weights, z: Array) -> dist.Distribution:
    """`pyrovae.models.GatedTransition`."""
    to_gate, to_proposal = jnp.split(jax.nn.relu(linear(p["hidden"], z)), 2, -1)
    gate, proposal = jax.nn.sigmoid(linear(p["gate"], to_gate)), linear(p["proposal"], to_proposal)
    start = linear(p["linear"], z)
    loc = start + gate * (proposal - start)
    return dist.Normal(loc, bounded_scale(linear(p["raw_scale"], jax.nn.relu(proposal)))).to_event(1)


def backward_rnn(p: Weights, x: Array) -> Array:
    """h_t from x_t, ..., x_T, `(T, B, H)`, of x `(T, B, X)`."""
    inputs = jnp.dot(x, p["weight_ih_l0"]) + p["bias_ih_l0"] + p["bias_hh_l0"]

    def step(h: Array, now: Array) -> tuple[Array, Array]:
        h = jnp.tanh(now + jnp.dot(h, p["weight_hh_l0"]))
        return h, h

    return lax.scan(step, jnp.zeros((x.shape[1], len(p["weight_hh_l0"]))), inputs, reverse=True)[1]


def markov(work: Workload, weights: Weights) -> tuple[Program, Program]:
    """The deep Markov model; z is drawn and scored in `scan`, and the keys are decoded after it."""
    (latent,) = work.latent

    def model(x: Array) -> None:
        p = numpyro.param("model", weights["model"])

        def step(z: Array, _: Any) -> tuple[Array, Array]:
            with numpyro.plate("data", len(x), dim=-1):
                z = numpyro.sample("z", transition(p["transition"], z))
            return z, z

        z = scan(step, jnp.broadcast_to(p["start"], (len(x), latent)), None, length=x.shape[1])[1]
        with numpyro.plate("time", x.shape[1], dim=-2), numpyro.plate("data", len(x), dim=-1):
            keys = dist.Bernoulli(logits=mlp()(p["decoder"], z)).to_event(1)
            numpyro.sample("x", keys, obs=x.swapaxes(0, 1))

    def guide(x: Array) -> None:
        p = numpyro.param("guide", weights["guide"])
        h = backward_rnn(p["encoder"]["rnn"], x.swapaxes(0, 1).reshape(x.shape[1], len(x), KEYS))

        def step(z: Array, now: Array) -> tuple[Array, None]:
            q = normal(linear(p["combiner"]["outer"], (jnp.tanh(linear(p["combiner"]["inner"], z)) + now) / 2))
            with numpyro.plate("data", len(x), dim=-1):
                return numpyro.sample("z", q.to_event(1)), None

        scan(step, jnp.broadcast_to(p["start"], (len(x), latent)), h)

    return model, guide


PROGRAMS: dict[str, Callable[[Workload, Weights], tuple[Program, Program]]] = {
    "dense": vae,
    "conv": vae,
    "ladder": ladder,
    "flow": flow,
    "markov": markov,
}
"""Model and guide of each architecture."""
