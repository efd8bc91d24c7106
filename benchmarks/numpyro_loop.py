"""The JAX contestant of benchmarks/speed.py: `numpyro.infer.SVI`, a whole epoch in one `lax.fori_loop`.

It runs in its own environment (.bench, made by `make bench`) and follows the protocol of workloads.py. The networks
are those of stax, by `numpyro.module`, as in NumPyro's own VAE example.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.example_libraries import stax
from numpyro.infer import SVI, RenyiELBO, Trace_ELBO
from workloads import LEARNING_RATE, Contestant, Workload, serve, shuffled, timed

Net = tuple[Callable[..., Any], Callable[..., Any]]


def dense(work: Workload, widths: tuple[int, ...]) -> list[Net]:
    """Hidden layers."""
    activation = {"relu": stax.Relu, "tanh": stax.Tanh}[work.activation]
    return [layer for width in widths for layer in (stax.Dense(width), activation)]


def networks(work: Workload) -> tuple[Net, Net]:
    """Encoder `(B, D) -> (loc, scale)` and decoder `(B, latent) -> (B, D)`."""
    scale = stax.serial(stax.Dense(work.latent), stax.Exp)
    heads = (stax.FanOut(2), stax.parallel(stax.Dense(work.latent), scale))
    decoder = stax.serial(*dense(work, work.hidden[::-1]), stax.Dense(work.event[0]))
    return stax.serial(*dense(work, work.hidden), *heads), decoder


def programs(work: Workload) -> tuple[Callable[[Array], None], Callable[[Array], None]]:
    """Model p(x, z) and guide q(z | x)."""
    encoder, decoder = networks(work)

    def model(x: Array) -> None:
        decode = numpyro.module("decoder", decoder, (len(x), work.latent))
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(work.latent), 1.0).to_event(1))
            output = decode(z)
            scored = dist.Bernoulli(logits=output) if work.bernoulli else dist.Normal(output, 1.0)
            numpyro.sample("x", scored.to_event(1), obs=x)

    def guide(x: Array) -> None:
        encode = numpyro.module("encoder", encoder, x.shape)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(*encode(x)).to_event(1))

    return model, guide


def to_floats(x: Array) -> Array:
    """Bytes as floats in [0, 1]; a table as it is."""
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


class NumPyro:
    """`svi.update` over every batch of an epoch, gathered from memory inside the loop, jitted as one program."""

    def __init__(self, args: argparse.Namespace, work: Workload, rows: np.ndarray) -> None:
        self.device = jax.devices("gpu" if args.device == "cuda" else "cpu")[0]
        self.rows, self.batch_size = jax.device_put(rows, self.device), work.batch_size
        num_particles = work.num_particles
        objective = RenyiELBO(alpha=0, num_particles=num_particles) if num_particles > 1 else Trace_ELBO()
        self.svi = SVI(*programs(work), numpyro.optim.Adam(LEARNING_RATE), objective)
        self.state = self.svi.init(jax.random.PRNGKey(0), to_floats(self.rows[: work.batch_size]))
        # The buffers of the state are reused, as in any training loop: nobody reads the old ones.
        self.run = jax.jit(self._run, donate_argnums=0)
        self.rng = np.random.default_rng(0)

    def epoch(self) -> float:
        seconds, self.loss = timed(self._epoch)
        return seconds

    def _epoch(self) -> float:
        order = shuffled(len(self.rows), self.batch_size, self.rng)
        self.state, total = self.run(self.state, self.rows, jax.device_put(order, self.device))
        return float(total) / len(self.rows)

    def _run(self, state: Any, rows: Array, order: Array) -> tuple[Any, Array]:
        return jax.lax.fori_loop(0, len(order), partial(self._step, rows, order), (state, jnp.zeros(())))

    def _step(self, rows: Array, order: Array, i: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
        state, loss = self.svi.update(carry[0], to_floats(rows[order[i]]))
        return state, carry[1] + loss


def build(args: argparse.Namespace, work: Workload, rows: np.ndarray) -> Contestant:
    """The only contestant here."""
    return NumPyro(args, work, rows)


if __name__ == "__main__":
    serve(build)
