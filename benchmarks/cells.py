"""Counts of cells, ours beside scvi-tools: the same networks, epochs and cells; held-out ELBO, log p(x), and time.

python benchmarks/cells.py --data cells            counts drawn from a known program
python benchmarks/cells.py --data pbmc             700 blood cells, 765 genes, which come inside the package scanpy

Both train the networks that are scvi-tools' defaults (128 hidden units, 10 latent dimensions, one layer, batch
normalisation, dropout 0.1 in the encoder), with its learning rate, batch size and rising weight of the rate, on the
same training cells, of which there are a multiple of the batch size. The trained networks of scvi-tools are put into
our pair, so that `evaluate` scores both by the same estimator; its own ELBO stands beside as a check. Each runs on one
thread in a process of its own, one after the other. The processor time is that of the process and its children,
compilers included, which start from an empty cache. Libraries are imported before it is counted, and torch's compiler,
which only compiled steps need, is imported within it.

Needs scvi-tools and scanpy, in an environment of their own; docs/results.md has scvi-tools 1.4.2 and scanpy 1.11.5.
"""

import argparse
import importlib
import importlib.util
import itertools
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyrovae import data
from pyrovae.guides import CountGuide, NormalGuide
from pyrovae.inference import ELBO, Linear, evaluate, fit
from pyrovae.models import CountVAE, likelihoods, priors
from pyrovae.networks import NormedMLP
from pyrovae.numeric import raw_scale

LATENT, HIDDEN, BATCH_SIZE = 10, 128, 128
LIKELIHOODS = {"nb": likelihoods.NegativeBinomial, "zinb": likelihoods.ZeroInflatedNegativeBinomial}


def pbmc() -> tuple[data.Batch, data.Batch]:
    """640 training cells and 60 test cells: counts, and their totals.

    The file has log(1 + 10,000 x / n) in `raw`, and n, the molecules of a cell over all genes, in `obs["n_counts"]`.
    """
    import anndata

    spec = importlib.util.find_spec("scanpy")
    assert spec is not None
    assert spec.origin is not None
    cells = anndata.read_h5ad(Path(spec.origin).parent / "datasets" / "10x_pbmc68k_reduced.h5ad")
    counted = np.expm1(cells.raw.X.toarray()) * cells.obs["n_counts"].to_numpy()[:, None] / 1e4
    assert np.abs(counted - counted.round()).max() < 0.2
    order = np.random.default_rng(0).permutation(len(counted))
    x = torch.from_numpy(counted.round().astype(np.float32))[order]
    whole = {"x": x, "total": x.sum(-1)}
    return {n: t[:640] for n, t in whole.items()}, {n: t[640:] for n, t in whole.items()}


def simulated() -> tuple[data.Batch, data.Batch]:
    """1,536 training cells and 200 test cells of `load("cells")`, without their types."""
    cells = data.load("cells")
    train, test = ({n: t[:1536] for n, t in split.items() if n != "y"} for split in (cells.train, cells.test))
    return train, test


def batches_of(split: data.Batch) -> list[int]:
    """The number of batches, as the shape of an input; none where the cells have no batch."""
    return [int(split["batch"].max()) + 1] if "batch" in split else []


class Ours:
    """CountVAE and CountGuide."""

    def __init__(self, train: data.Batch, kind: str, patience: int | None = None) -> None:
        self.patience = patience
        genes, batches = train["x"].shape[1], batches_of(train)
        likelihood = LIKELIHOODS[kind](genes, shares=True)
        decoder = NormedMLP([LATENT, *batches], likelihood.params_shape, [HIDDEN], dropout=0.0)
        decoder.start_at(likelihood.start(train["x"]))
        encoder = NormedMLP([genes, *batches], 2 * LATENT, [HIDDEN], dropout=0.1)
        self.model = CountVAE(priors.StandardNormal(LATENT), likelihood, decoder)
        self.guide = CountGuide(NormalGuide(encoder))

    def train(self, train: data.Batch, epochs: int, seed: int) -> None:
        settings: dict[str, Any] = {"epochs": epochs, "seed": seed, "progress": False}
        if self.patience:
            held = len(train["x"]) // 10
            split = {"train": {n: t[held:] for n, t in train.items()}, "valid": {n: t[:held] for n, t in train.items()}}
            fit(
                self.model,
                self.guide,
                split["train"],
                valid=split["valid"],
                batch_size=64,
                patience=self.patience,
                **settings,
            )
            return
        # Their loss is a mean over the batch, ours a sum: with the same gradients, eps and decay are as much larger.
        adam = (torch.optim.Adam, {"lr": 1e-3, "eps": 0.01 * BATCH_SIZE, "weight_decay": 1e-6 * BATCH_SIZE})
        loss = ELBO(kl_weight=Linear(0.0, 1.0, epochs * math.ceil(len(train["x"]) / BATCH_SIZE)))
        fit(self.model, self.guide, train, loss=loss, optim=adam, batch_size=BATCH_SIZE, compile=True, **settings)

    def pair(self) -> tuple[Any, Any]:
        return self.model, self.guide

    def own(self, test: data.Batch) -> float:
        return float("nan")


class Theirs:
    """scvi-tools' SCVI."""

    def __init__(self, train: data.Batch, kind: str) -> None:
        import scvi

        scvi.settings.verbosity = 40
        self.cells = self.anndata(train)
        scvi.model.SCVI.setup_anndata(self.cells, batch_key="batch")
        encode = bool(batches_of(train))
        self.scvi = scvi.model.SCVI(self.cells, gene_likelihood=kind, encode_covariates=encode)
        self.kind, self.batches = kind, batches_of(train)

    @staticmethod
    def anndata(split: data.Batch) -> Any:
        import anndata
        import scipy.sparse

        cells = anndata.AnnData(scipy.sparse.csr_matrix(split["x"].numpy()))
        cells.obs["batch"] = split["batch"].numpy().astype(str) if "batch" in split else "0"
        return cells

    def train(self, train: data.Batch, epochs: int, seed: int) -> None:
        self.scvi.train(
            max_epochs=epochs,
            accelerator="cpu",
            train_size=1.0,
            validation_size=0.0,
            batch_size=BATCH_SIZE,
            plan_kwargs={"n_epochs_kl_warmup": epochs},
            enable_progress_bar=False,
        )

    def pair(self) -> tuple[Any, Any]:
        """Its networks in our pair."""
        module = self.scvi.module.eval()
        genes = module.px_r.shape[0]
        likelihood = LIKELIHOODS[self.kind](genes, shares=True)
        likelihood.raw_dispersion.data = 18 * torch.atanh(module.px_r.detach() / 18)
        model = CountVAE(priors.StandardNormal(LATENT), likelihood, TheirDecoder(module, self.kind))
        return model.eval(), CountGuide(NormalGuide(TheirEncoder(module))).eval()

    def own(self, test: data.Batch) -> float:
        """Its own ELBO, per cell."""
        return float(self.scvi.get_elbo(self.anndata(test)))


class TheirDecoder(nn.Module):
    """What our likelihood takes, from scvi-tools' decoder: logarithms of the shares, and logits of the gates."""

    def __init__(self, module: Any, kind: str) -> None:
        super().__init__()
        self.module, self.kind = module, kind

    def forward(self, z: Tensor, batch: Tensor | None = None) -> Tensor:
        flat = z.reshape(-1, z.shape[-1])
        index = torch.zeros(z.shape[:-1]) if batch is None else batch.expand(z.shape[:-1])
        share, _, _, gate = self.module.decoder("gene", flat, flat.new_zeros(len(flat), 1), index.reshape(-1, 1).long())
        params = torch.cat([share.log(), gate], -1) if self.kind == "zinb" else share.log()
        return params.reshape(*z.shape[:-1], -1)


class TheirEncoder(nn.Module):
    """Location and raw scale, from scvi-tools' encoder."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, batch: Tensor | None = None) -> Tensor:
        index = torch.zeros(len(x)) if batch is None else batch
        q, _ = self.module.z_encoder(x, index.reshape(-1, 1).long())
        return torch.cat([q.loc, raw_scale(q.scale)], -1)


CONTESTANTS: dict[str, Any] = {
    "ours": Ours,
    "theirs": Theirs,
    "again": Ours,
    "stopped": partial(Ours, patience=10),
}
"""Ours by the recipe of scvi-tools; scvi-tools; ours again, with compiled steps in the cache; ours as `fit` has it."""


def measured(kind: str, who: str, splits: tuple[data.Batch, data.Batch], flags: argparse.Namespace, seed: int) -> None:
    """Train and score one contestant."""
    importlib.import_module("scvi" if who == "theirs" else "torch._dynamo")  # any torch optimizer imports the latter
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - scvi-tools draws from it
    train, test = splits
    begin = time.perf_counter(), processor()
    found = CONTESTANTS[who](train, kind)
    found.train(train, flags.epochs, seed)
    took = time.perf_counter() - begin[0], processor() - begin[1]
    scored = evaluate(*found.pair(), test, num_samples=flags.samples)
    line = {"who": who, "data": flags.data, "likelihood": kind, "seed": seed}
    line |= {"epochs": flags.epochs, "seconds": round(took[0], 1), "processor": round(took[1], 1)}
    line |= {"elbo": scored.elbo.value, "elbo_error": scored.elbo.error, "own_elbo": found.own(test)}
    line |= {"log_evidence": scored.log_evidence.value, "log_evidence_error": scored.log_evidence.error}
    line |= {"rate": scored.rate.value}
    print(json.dumps(line), flush=True)


def processor() -> float:
    """Processor time of this process and of its children that have ended, in seconds."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> None:
    """Train both with each likelihood and seed."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", choices=("cells", "pbmc"), default="cells")
    p.add_argument("--likelihoods", nargs="+", choices=LIKELIHOODS, default=["zinb"])
    p.add_argument("--epochs", type=int, default=400)
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--samples", type=int, default=1000, help="importance samples for each cell")
    p.add_argument("--who", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    p.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    flags = p.parse_args()
    if flags.child:
        torch.set_num_threads(1)
        warnings.filterwarnings("ignore")
        splits = pbmc() if flags.data == "pbmc" else simulated()
        measured(flags.likelihoods[0], flags.who[0], splits, flags, flags.seeds[0])
        return
    same = ["--data", flags.data, "--epochs", str(flags.epochs), "--samples", str(flags.samples), "--child"]
    with tempfile.TemporaryDirectory() as cache:
        env = os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": cache}
        for kind, seed, who in itertools.product(flags.likelihoods, flags.seeds, flags.who):
            which = ["--likelihoods", kind, "--seeds", str(seed), "--who", who]
            subprocess.run([sys.executable, __file__, *same, *which], env=env, check=True)


if __name__ == "__main__":
    main()
