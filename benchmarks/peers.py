"""The PyTorch contestants of benchmarks/speed.py: ours, Pyro's SVI, the tutorial loop, the raw compiled loop.

`python benchmarks/peers.py WORKLOAD CONTESTANT ROWS.npy WEIGHTS.npz` follows the protocol of workloads.py. All of them
use the same networks (pyrovae.networks), the same reparameterised posterior, Adam, and the rows of one epoch.
"""

import argparse
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

import numpy as np
import pyro
import torch
import torchvision
from pairs import Pair, load, pair_of, to_floats
from PIL import Image
from plain import Plain
from pyro.infer import ELBO, RenyiELBO, Trace_ELBO
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from workloads import LEARNING_RATE, THREADS, Contestant, Workload, fixed_noise, serve, shuffled, timed

from pyrovae.data import Scale
from pyrovae.inference.compile.reasons import EagerWarning
from pyrovae.inference.training.svi import SVI


def objective_of(work: Workload) -> ELBO:
    """The ELBO, or the importance-weighted bound (Renyi's at alpha = 0) with all particles in one call."""
    if work.num_particles == 1:
        return Trace_ELBO()
    return RenyiELBO(alpha=0, num_particles=work.num_particles, vectorize_particles=True, max_plate_nesting=1)


def _noise(*size: int, device: Any = None) -> Tensor:
    """`fixed_noise` in place of a draw, `(B, D)` or `(K, B, D)`."""
    if len(size) < 3:
        return torch.from_numpy(fixed_noise(size))
    return torch.stack([torch.from_numpy(fixed_noise(size[1:], k)) for k in range(size[0])])


def noise_fixed() -> Any:
    """A context in which normals draw `fixed_noise`, those of torch's distributions too."""
    stack = ExitStack()
    stack.enter_context(mock.patch.multiple(torch, randn=_noise, randn_like=lambda x: _noise(*x.shape)))
    stack.enter_context(mock.patch("torch.distributions.normal._standard_normal", lambda size, **_: _noise(*size)))
    return stack


class Ours:
    """pyrovae's SVI on pyrovae's programs: an epoch is one `run` over rows in memory."""

    def __init__(
        self, work: Workload, rows: Tensor, pair: Pair, *, compile: bool = True, precision: str = "fp32"
    ) -> None:
        warnings.simplefilter("error", EagerWarning)  # an eager run under this name would be another contestant
        self.pair, self.objective = pair, objective_of(work)
        optim = torch.optim.Adam([p for part in pair for p in part.parameters()], lr=LEARNING_RATE)
        self.svi = SVI(*pair, optim, self.objective, compile=compile, precision=precision)
        self.rows, self.batch_size = rows, work.batch_size
        self.transform = Scale() if work.bernoulli else None
        self.rng = np.random.default_rng(0)

    def check(self) -> float:
        return _pyro_check(self.pair, self.objective, self.rows[: self.batch_size])

    def epoch(self) -> float:
        seconds, self.loss = timed(self._epoch)
        return seconds

    def _epoch(self) -> float:
        order = torch.from_numpy(shuffled(len(self.rows), self.batch_size, self.rng)).to(self.rows.device)
        losses = self.svi.steps({"x": self.rows}, len(order), order=order, transform=self.transform)
        return losses.sum().item() / len(self.rows)


@torch.no_grad()
def _pyro_check(pair: Pair, objective: ELBO, rows: Tensor) -> float:
    with noise_fixed():
        return float(objective.loss(*pair, to_floats(rows))) / len(rows)


class PyroInMemory:
    """`pyro.infer.SVI` and `pyro.optim.Adam`, one `svi.step` per batch, validation on by default. The data are in
    memory, without a DataLoader: only the SVI is compared."""

    def __init__(self, work: Workload, rows: Tensor, pair: Pair) -> None:
        self.pair, self.objective = pair, objective_of(work)
        self.svi = pyro.infer.SVI(self.model, self.guide, pyro.optim.Adam({"lr": LEARNING_RATE}), loss=self.objective)
        self.rows, self.batch_size = rows, work.batch_size

    def model(self, x: Tensor) -> None:
        self._run("model", self.pair[0], x)

    def guide(self, x: Tensor) -> None:
        self._run("guide", self.pair[1], x)

    def _run(self, name: str, program: nn.Module, x: Tensor) -> None:
        """The program with its parameters in Pyro's store, as in every example of Pyro."""
        for part, parameter in program.named_parameters():
            pyro.param(f"{name}.{part}", parameter)
        nn.Module.__call__(program, x)

    def check(self) -> float:
        return _pyro_check(self.pair, self.objective, self.rows[: self.batch_size])

    def epoch(self) -> float:
        seconds, self.loss = timed(self._epoch)
        return seconds

    def batches(self) -> Iterator[Tensor]:
        for batch in torch.randperm(len(self.rows), device=self.rows.device).split(self.batch_size):
            yield to_floats(self.rows[batch])

    def _epoch(self) -> float:
        return sum(self.svi.step(x) for x in self.batches()) / len(self.rows)


class Pyro(PyroInMemory):
    """The same, with the input of Pyro's VAE example: images through `ToTensor` and a shuffling DataLoader."""

    def __init__(self, work: Workload, rows: Tensor, pair: Pair) -> None:
        super().__init__(work, rows, pair)
        self.event = work.event
        self.loader = image_loader(work, rows)

    def batches(self) -> Iterator[Tensor]:
        yield from (images.to(self.rows.device).view(-1, *self.event) for images in self.loader)


class Tutorial:
    """The loop of every VAE tutorial: torchvision's MNIST images through `ToTensor` and a shuffling DataLoader in the
    main process, cross-entropy and KL, `.item()` at each step."""

    def __init__(self, work: Workload, rows: Tensor, pair: Pair) -> None:
        self.rows, self.event, self.batch_size = rows, work.event, work.batch_size
        self.net = Plain(work, *pair)
        self.optim = torch.optim.Adam(self.net.parameters(), lr=LEARNING_RATE)
        self.loader = image_loader(work, rows)

    def check(self) -> float:
        return _plain_check(self.net, self.rows[: self.batch_size])

    def epoch(self) -> float:
        seconds, self.loss = timed(self._epoch)
        return seconds

    def _epoch(self) -> float:
        total = 0.0
        for images in self.loader:
            x = images.to(self.rows.device).view(-1, *self.event)
            self.optim.zero_grad()
            loss = self.net(x)
            loss.backward()
            total += loss.item()
            self.optim.step()
        return total / len(self.rows)


@torch.no_grad()
def _plain_check(net: Plain, rows: Tensor) -> float:
    with noise_fixed():
        return net(to_floats(rows)).item() / len(rows)


def image_loader(work: Workload, rows: Tensor) -> DataLoader:
    """Batches as Pyro's VAE example and every tutorial draw them."""
    return DataLoader(Images(rows.cpu()), batch_size=work.batch_size, shuffle=True)


class Images(Dataset):
    """Items like those of torchvision.datasets.MNIST with `transform=ToTensor()`."""

    def __init__(self, rows: Tensor) -> None:
        self.images = rows.view(-1, 28, 28)
        self.transform = torchvision.transforms.ToTensor()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(Image.fromarray(self.images[index].numpy()))


class Raw:
    """The fastest plain PyTorch: no probabilistic language, rows in memory, gather, loss and backward pass under
    `torch.compile`, fused Adam, one permutation per epoch, and the loss read once."""

    def __init__(self, work: Workload, rows: Tensor, pair: Pair) -> None:
        _keep_freed_memory()
        self.rows, self.batch_size = rows, work.batch_size
        self.net = net = Plain(work, *pair)
        self.optim = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
        # CUDA graphs: the mode that torch's documentation advises for small steps on a GPU.
        mode = "reduce-overhead" if rows.is_cuda else None
        self.loss_of = torch.compile(lambda rows, batch: net(to_floats(rows[batch])), mode=mode)

    def check(self) -> float:
        return _plain_check(self.net, self.rows[: self.batch_size])

    def epoch(self) -> float:
        seconds, self.loss = timed(self._epoch)
        return seconds

    def _epoch(self) -> float:
        total = torch.zeros((), device=self.rows.device)
        for batch in torch.randperm(len(self.rows), device=self.rows.device).split(self.batch_size):
            loss = self.loss_of(self.rows, batch)
            loss.backward()
            self.optim.step()
            self.optim.zero_grad()
            total += loss.detach()
        return total.item() / len(self.rows)


def _keep_freed_memory() -> None:
    """Keep glibc from returning the buffers of a step to the kernel, to be faulted in again at the next step. Whether
    it does depends on what was freed before, and costs up to half of a step's time. Freeing one large block settles
    it."""
    torch.empty(31 * 2**20, dtype=torch.uint8)


def build(args: argparse.Namespace, work: Workload, rows: np.ndarray, weights: dict[str, np.ndarray]) -> Contestant:
    """The contestant `args.contestant`."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    tensor = torch.from_numpy(rows).to(args.device)
    model, guide = (part.to(args.device) for part in load(pair_of(work), weights))
    if args.contestant in ("ours", "ours_bf16", "eager"):
        precision = "bf16" if args.contestant == "ours_bf16" else "fp32"
        return Ours(work, tensor, (model, guide), compile=args.contestant != "eager", precision=precision)
    peers = {"pyro": Pyro, "pyro_memory": PyroInMemory, "tutorial": Tutorial, "raw": Raw}
    return peers[args.contestant](work, tensor, (model, guide))


if __name__ == "__main__":
    serve(build)
