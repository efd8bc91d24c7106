"""The JAX contestant of benchmarks/speed.py: `numpyro.infer.SVI`, a whole epoch in one `lax.fori_loop`.

It runs in its own environment (.bench, made by `make bench`) and follows the protocol of workloads.py.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from numpyro.infer import SVI, RenyiELBO, Trace_ELBO
from numpyro_programs import PROGRAMS, nested
from workloads import LEARNING_RATE, Contestant, Workload, fixed_noise, serve, shuffled, timed


def to_floats(x: Array) -> Array:
    """Bytes as floats in [0, 1]; a table as it is."""
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


class NumPyro:
    """`svi.update` over every batch of an epoch, gathered from memory inside the loop, jitted as one program."""

    def __init__(self, device: str, work: Workload, rows: np.ndarray, weights: dict[str, np.ndarray]) -> None:
        self.device = jax.devices("gpu" if device == "cuda" else "cpu")[0]
        self.rows, self.batch_size = jax.device_put(rows, self.device), work.batch_size
        particles = work.num_particles
        self.objective = RenyiELBO(alpha=0, num_particles=particles) if particles > 1 else Trace_ELBO()
        self.pair = PROGRAMS[work.architecture](work, nested(weights, work))
        self.svi = SVI(*self.pair, numpyro.optim.Adam(LEARNING_RATE), self.objective)
        self.state = self.svi.init(jax.random.PRNGKey(0), to_floats(self.rows[: work.batch_size]))
        # The buffers of the state are reused, as in any training loop: nobody reads the old ones.
        self.run = jax.jit(self._run, donate_argnums=0)
        self.rng = np.random.default_rng(0)

    def check(self) -> float:
        batch = to_floats(self.rows[: self.batch_size])
        with noise_fixed(self.objective):
            parameters = self.svi.get_params(self.state)
            loss = self.objective.loss(jax.random.PRNGKey(0), parameters, *self.pair, batch)
        return float(loss) / len(batch)

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


@contextmanager
def noise_fixed(objective: Any) -> Iterator[None]:
    """A context in which JAX's normals are `fixed_noise`. Particles run one after the other, each with its own."""
    particle = 0

    def normal(key: Any, shape: tuple[int, ...] = (), *_args: Any, **_options: Any) -> Array:
        return jnp.asarray(fixed_noise(shape, particle))

    def each(f: Callable[[Any], Any], keys: Any) -> Any:
        nonlocal particle
        results = []
        for particle, key in enumerate(keys):  # noqa: B007 `normal` reads it
            results.append(f(key))
        return jax.tree.map(lambda *parts: jnp.stack([jnp.asarray(part) for part in parts]), *results)

    with mock.patch.object(jax.random, "normal", normal):
        if objective.num_particles == 1:
            yield
        else:
            with mock.patch.object(objective, "vectorize_particles_fn", each):
                yield


def build(args: argparse.Namespace, work: Workload, rows: np.ndarray, weights: dict[str, np.ndarray]) -> Contestant:
    """The only contestant here."""
    return NumPyro(args.device, work, rows, weights)


if __name__ == "__main__":
    serve(build)
