"""The PyTorch contestants of benchmarks/speed.py: ours, Pyro's SVI, the tutorial loop, the raw compiled loop.

`python benchmarks/peers.py WORKLOAD CONTESTANT ROWS.npy` follows the protocol of workloads.py. All of them use the
same networks (pyrovae.networks), the same reparameterised normal posterior, Adam, and the rows of one epoch.
"""

import argparse
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from pyro.infer import ELBO, RenyiELBO, Trace_ELBO
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from workloads import LEARNING_RATE, THREADS, Contestant, Workload, serve, shuffled, timed

from pyrovae.data import Scale
from pyrovae.guides import NormalGuide
from pyrovae.inference.training.svi import SVI
from pyrovae.models import VAE
from pyrovae.models.likelihoods import Bernoulli, Normal
from pyrovae.models.priors import StandardNormal
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.dense import MLP


def networks(work: Workload) -> tuple[nn.Module, nn.Module]:
    """Encoder `(*, *event) -> (*, 2 * latent)` and decoder `(*, latent) -> (*, *event)`, the same for all."""
    activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[work.activation]
    if work.convolutional:
        encoder: nn.Module = ConvEncoder(work.event, 2 * work.latent, work.hidden, activation)
        return encoder, ConvDecoder(work.latent, work.event, work.hidden[::-1], activation)
    encoder = MLP(work.event, 2 * work.latent, work.hidden, activation)
    return encoder, MLP(work.latent, work.event, work.hidden[::-1], activation)


def to_floats(x: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]; a table as it is."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


def pyro_objective(work: Workload) -> ELBO:
    """The ELBO, or the importance-weighted bound (Renyi's at alpha = 0) with all particles in one call."""
    if work.num_particles == 1:
        return Trace_ELBO()
    return RenyiELBO(alpha=0, num_particles=work.num_particles, vectorize_particles=True, max_plate_nesting=1)


class Ours:
    """pyrovae's SVI on pyrovae's programs: an epoch is one `run` over rows in memory."""

    def __init__(self, work: Workload, rows: Tensor, *, compile: bool = True, precision: str = "fp32") -> None:
        encoder, decoder = networks(work)
        likelihood = Bernoulli(work.event) if work.bernoulli else Normal(work.event, scale=1.0)
        model = VAE(StandardNormal(work.latent), likelihood, decoder).to(rows.device)
        guide = NormalGuide(encoder).to(rows.device)
        optim = torch.optim.Adam([*model.parameters(), *guide.parameters()], lr=LEARNING_RATE)
        options: dict[str, Any] = {"compile": compile, "precision": precision}
        self.svi = SVI(model, guide, optim, pyro_objective(work), **options)
        self.rows, self.batch_size = rows, work.batch_size
        self.transform = Scale() if work.bernoulli else None
        self.rng = np.random.default_rng(0)

    def epoch(self) -> float:
        seconds, self.loss = timed(self._epoch)
        return seconds

    def _epoch(self) -> float:
        order = torch.from_numpy(shuffled(len(self.rows), self.batch_size, self.rng)).to(self.rows.device)
        losses = self.svi.steps({"x": self.rows}, len(order), order=order, transform=self.transform)
        return losses.sum().item() / len(self.rows)


class PyroPrograms(nn.Module):
    """The pair of Pyro's VAE example, with logits instead of its sigmoid and `probs`, which are slower."""

    def __init__(self, work: Workload) -> None:
        super().__init__()
        self.work = work
        self.encoder, self.decoder = networks(work)

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            loc = x.new_zeros(x.shape[0], self.work.latent)
            z = pyro.sample("latent", dist.Normal(loc, torch.ones_like(loc)).to_event(1))
            output = self.decoder(z)
            scored = dist.Bernoulli(logits=output) if self.work.bernoulli else dist.Normal(output, 1.0)
            pyro.sample("obs", scored.to_event(len(self.work.event)), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            pyro.sample("latent", dist.Normal(loc, log_scale.exp()).to_event(1))


class PyroInMemory:
    """`pyro.infer.SVI` and `pyro.optim.Adam`, one `svi.step` per batch, validation on by default. The data are in
    memory, without a DataLoader: only the SVI is compared."""

    def __init__(self, work: Workload, rows: Tensor) -> None:
        programs = PyroPrograms(work).to(rows.device)
        optim = pyro.optim.Adam({"lr": LEARNING_RATE})
        self.svi = pyro.infer.SVI(programs.model, programs.guide, optim, loss=pyro_objective(work))
        self.rows, self.batch_size = rows, work.batch_size

    def epoch(self) -> float:
        seconds, self.loss = timed(self._epoch)
        return seconds

    def batches(self) -> Iterator[Tensor]:
        for batch in torch.randperm(len(self.rows), device=self.rows.device).split(self.batch_size):
            yield to_floats(self.rows[batch])

    def _epoch(self) -> float:
        return sum(self.svi.step(x) for x in self.batches()) / len(self.rows)


class Pyro(PyroInMemory):
    """The same, with the input of Pyro's VAE example: images through `ToTensor` and a shuffling DataLoader. A table,
    for which there is no such example, stays in memory."""

    def __init__(self, work: Workload, rows: Tensor) -> None:
        super().__init__(work, rows)
        self.event = work.event
        self.loader = image_loader(work, rows) if work.bernoulli else None

    def batches(self) -> Iterator[Tensor]:
        if self.loader is None:
            yield from super().batches()
        else:
            yield from (images.to(self.rows.device).view(-1, *self.event) for images in self.loader)


class PlainVAE(nn.Module):
    """The VAE as written without a probabilistic language; `forward` is the loss summed over the batch."""

    def __init__(self, work: Workload) -> None:
        super().__init__()
        self.work = work
        self.encoder, self.decoder = networks(work)

    def forward(self, x: Tensor) -> Tensor:
        loc, log_scale = self.encoder(x).chunk(2, -1)
        if self.work.num_particles == 1:
            z = loc + log_scale.exp() * torch.randn_like(loc)
            return -self.score(self.decoder(z), x).sum() + kl_to_standard_normal(loc, log_scale)
        return -self.importance_weighted(x, loc, log_scale).sum()

    def importance_weighted(self, x: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
        """log mean_k p(x, z_k) / q(z_k | x), shape (B,). The constants of p(z) and q(z | x) cancel."""
        noise = torch.randn(self.work.num_particles, *loc.shape, device=loc.device)
        z = loc + log_scale.exp() * noise
        log_ratio = (0.5 * (noise**2 - z**2) + log_scale).sum(-1)
        log_weight = self.score(self.decoder(z), x).flatten(2).sum(-1) + log_ratio
        return log_weight.logsumexp(0) - math.log(self.work.num_particles)

    def score(self, output: Tensor, x: Tensor) -> Tensor:
        """log p(x | z) per entry, of the output's shape."""
        if self.work.bernoulli:
            return -F.binary_cross_entropy_with_logits(output, x.expand_as(output), reduction="none")
        return -0.5 * ((output - x) ** 2 + math.log(2 * math.pi))


def kl_to_standard_normal(loc: Tensor, log_scale: Tensor) -> Tensor:
    """KL(Normal(loc, scale) || Normal(0, 1)), summed over everything."""
    return 0.5 * (loc**2 + (2 * log_scale).exp() - 2 * log_scale - 1).sum()


class Tutorial:
    """The loop of every VAE tutorial: torchvision's MNIST images through `ToTensor` and a shuffling DataLoader in the
    main process, cross-entropy and KL in closed form, `.item()` at each step."""

    def __init__(self, work: Workload, rows: Tensor) -> None:
        self.device, self.num_rows = rows.device, len(rows)
        self.net = PlainVAE(work).to(rows.device)
        self.event = work.event
        self.optim = torch.optim.Adam(self.net.parameters(), lr=LEARNING_RATE)
        self.loader = image_loader(work, rows)

    def epoch(self) -> float:
        seconds, self.loss = timed(self._epoch)
        return seconds

    def _epoch(self) -> float:
        total = 0.0
        for images in self.loader:
            x = images.to(self.device).view(-1, *self.event)
            self.optim.zero_grad()
            loss = self.net(x)
            loss.backward()
            total += loss.item()
            self.optim.step()
        return total / self.num_rows


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

    def __init__(self, work: Workload, rows: Tensor) -> None:
        _keep_freed_memory()
        self.rows, self.batch_size = rows, work.batch_size
        net = PlainVAE(work).to(rows.device)
        self.optim = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
        # CUDA graphs: the mode that torch's documentation advises for small steps on a GPU.
        mode = "reduce-overhead" if rows.is_cuda else None
        self.loss_of = torch.compile(lambda rows, batch: net(to_floats(rows[batch])), mode=mode)

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


def build(args: argparse.Namespace, work: Workload, rows: np.ndarray) -> Contestant:
    """The contestant `args.contestant`."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    tensor = torch.from_numpy(rows).to(args.device)
    if args.contestant in ("ours", "ours_bf16", "eager"):
        precision = "bf16" if args.contestant == "ours_bf16" else "fp32"
        return Ours(work, tensor, compile=args.contestant != "eager", precision=precision)
    return {"pyro": Pyro, "pyro_memory": PyroInMemory, "tutorial": Tutorial, "raw": Raw}[args.contestant](work, tensor)


if __name__ == "__main__":
    serve(build)
