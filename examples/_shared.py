"""What the example scripts share: flags, the run folder, the closing table and the pictures."""

import argparse
import inspect
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from pyrovae import data, plots
from pyrovae.errors import PairError, PyrovaeError
from pyrovae.inference import (
    Estimate,
    Evaluation,
    History,
    Linear,
    decode,
    encode,
    evaluate,
    fit,
    gaps,
    generate,
    interpolate,
    latent_map,
    load_weights,
    traverse,
)
from pyrovae.inference.pair.contract import modules
from pyrovae.inference.pair.running import seeded, unchanged
from pyrovae.inference.training.checkpoint import write_atomically
from pyrovae.inference.training.device import choose_device
from pyrovae.report import write_report
from pyrovae.version import __version__

__all__ = ["Run", "main", "parser"]

Row = tuple[str, str, str]
"""Of the closing table: name, value, unit."""

SCHEDULES = ("constant", "cosine")


def parser(description: str, *, out: str, epochs: int, closing: bool = True) -> argparse.ArgumentParser:
    """The flags that every example has, and those of the closing table where there is one."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--data", default="digits", help=f"one of {', '.join(data.NAMES)}, folder:PATH, or a .npy/.npz/.csv")
    p.add_argument("--root", help="folder of the data files; $PYROVAE_DATA or the user's cache when not given")
    p.add_argument("--image-size", type=int, help="resize the images of folder:PATH to this many pixels a side")
    p.add_argument("--valid", type=int, help="training data held out for validation; the set's own choice if not given")
    p.add_argument("--test", type=int, help="data held out for testing, of files that do not come split")
    p.add_argument("--epochs", type=int, default=epochs, help="passes over the training data")
    p.add_argument("--batch-size", type=int, default=128, help="data per step")
    p.add_argument("--lr", type=float, default=1e-3, help="learning rate of AdamW")
    p.add_argument("--weight-decay", type=float, default=0.0, help="of AdamW, against overfitting; 0 makes it Adam")
    p.add_argument("--schedule", choices=SCHEDULES, default="constant", help="of the learning rate; cosine ends at 0")
    p.add_argument("--patience", type=int, help="stop after so many epochs without a higher validation ELBO")
    p.add_argument(
        "--average", type=float, default=0.0, help="end with a running mean of the weights: 0.95; 0 for none"
    )
    p.add_argument("--clip-norm", type=float, help="clip the norm of the gradients")
    p.add_argument("--seed", type=int, default=0, help="of the weights, the order of the data, and all noise")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    p.add_argument("--precision", default="fp32", choices=("fp32", "bf16"), help="of the matrix products")
    p.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="replay each step as one graph; by default where it pays",
    )
    p.add_argument("--evaluate", type=int, default=500, help="test data that the closing table uses; 0 for all")
    p.add_argument("--num-samples", type=int, default=500, help="importance samples per test datum")
    p.add_argument("--out", type=Path, default=Path(out), help="run folder")
    p.add_argument("--resume", action="store_true", help="continue the run in the run folder")
    p.add_argument("--start", type=Path, metavar="RUN", help="start at the weights of another run of the same pair")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    if closing:
        steps = "steps that refine the guide for each test datum, which tells the evidence closer; 0 for none"
        p.add_argument("--refine", type=int, default=0, metavar="STEPS", help=steps)
        p.add_argument("--report", action="store_true", help="write report.html, one page that shows the run")
    return p


class HalfCosine(LambdaLR):
    """Half a cosine from the optimizer's rate to 0 in so many epochs; one resumed with more goes on along theirs."""

    def __init__(self, optimizer: torch.optim.Optimizer, epochs: int) -> None:
        super().__init__(optimizer, lambda epoch: (1 + math.cos(math.pi * min(epoch / max(epochs, 1), 1))) / 2)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group, factor in zip(self.optimizer.param_groups, self.lr_lambdas, strict=True):
            group["lr"] = group["initial_lr"] * factor(self.last_epoch)


def schedule(name: str, epochs: int) -> Callable[[torch.optim.Optimizer], LambdaLR] | None:
    """What `fit` takes as scheduler: none for a constant learning rate, or half a cosine that ends at 0."""
    return partial(HalfCosine, epochs=epochs) if name == "cosine" else None


def main(script: Callable[[argparse.Namespace], Any], arguments: argparse.Namespace) -> int:
    """Run a script and say where its files are; an error of this package is one line, Ctrl-C says how to go on."""
    arguments.command = {  # python -m pyrovae.report runs it again
        "script": str(Path(inspect.getfile(script)).resolve()),
        "flags": sys.argv[1:],
        "folder": str(Path.cwd()),
        "out": str(arguments.out.resolve()),
    }
    try:
        script(arguments)
        print(f"\nresults are in {arguments.out}/")
    except PyrovaeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"\n{str(error) or 'stopped'}", file=sys.stderr)
        return 130
    return 0


class Run:
    """One run of an example: a data set, a pair, and the folder where everything goes, by the parsed flags."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.out: Path = arguments.out
        self.seconds = 0.0
        torch.manual_seed(arguments.seed)
        self.device = choose_device(arguments.device)
        a = arguments
        level = getattr(a, "level", None)  # of text
        self.data = data.load(a.data, a.root, valid=a.valid, test=a.test, size=a.image_size, level=level)
        print(f"data    {self.data.describe()}")

    def fit(self, model: torch.nn.Module, guide: Any, transform: Any, *, optim: Any = None, **options: Any) -> History:
        """Train by the flags; AdamW, unless another `optim` is given."""
        a = self.arguments
        count = sum(p.numel() for p in {p for part in modules(model, guide) for p in part.parameters()})
        names = " and ".join(getattr(part, "__name__", type(part).__name__) for part in (model, guide))
        print(f"pair    {names}, {count:,} parameters, on {self.device}")
        self.model, self.guide, self.transform = model, guide, transform
        self.test = transform.prepare(self.data.test)
        if a.start:
            load_weights(model, guide, a.start)
        start = time.perf_counter() - (self._before() if a.resume else 0.0)
        try:
            self.history = fit(
                model,
                guide,
                self.data,
                epochs=a.epochs,
                batch_size=a.batch_size,
                optim=optim or (torch.optim.AdamW, {"lr": a.lr, "weight_decay": a.weight_decay}),
                **{"scheduler": schedule(a.schedule, a.epochs), **options},
                transform=transform,
                patience=a.patience,
                average=a.average,
                clip_norm=a.clip_norm,
                seed=a.seed,
                device=self.device,
                run=self.out,
                resume=a.resume,
                progress=not a.quiet,
                compile=a.compile,
                precision=a.precision,
            )
        finally:
            self.seconds = time.perf_counter() - start
            if self.out.is_dir():
                write_atomically(self.out / "seconds.txt", lambda file: file.write(f"{self.seconds:.2f}".encode()))
        return self.history

    def _before(self) -> float:
        """The seconds of training before a resume; those of a killed process are not known."""
        file = self.out / "seconds.txt"
        return float(file.read_text()) if file.is_file() else 0.0

    def annealed(self, epochs: int, start: float = 0.0) -> float | Linear:
        """The weight of the rate: it rises from `start` to 1 in so many epochs."""
        steps = epochs * math.ceil(len(self.data.train["x"]) / self.arguments.batch_size)
        return Linear(start, 1.0, steps) if steps else 1.0

    @property
    def scored(self) -> data.Batch:
        """The test data that the closing table uses."""
        return {name: tensor[: self.arguments.evaluate or None] for name, tensor in self.test.items()}

    def evaluate(self) -> Evaluation:
        """Score the test data, as many of them as the flags say."""
        a, (scored, transform) = self.arguments, self._drawn()
        return evaluate(self.model, self.guide, scored, num_samples=a.num_samples, transform=transform, seed=a.seed)

    def _drawn(self) -> tuple[data.Batch, Callable[[Any], Any]]:
        """The scored data and their transform; a random one is drawn once where a refined guide is compared on them."""
        if not self.arguments.refine:
            return self.scored, self.transform
        with seeded(self.arguments.seed, self.device):
            return self.transform({name: tensor.to(self.device) for name, tensor in self.scored.items()}), unchanged

    def summary(
        self,
        measured: Evaluation,
        *,
        rows: Sequence[Row] = (),
        bits: bool = False,
        hide: Sequence[str] = (),
        **more: Any,
    ) -> None:
        """Print the closing table, and write `summary.json`, and the report where the flags want one.

        Args:
            rows: further rows of name, value, unit.
            bits: say the evidence in bits per number too, of data with a probability.
            hide: names of rows that mean nothing for this pair.
            more: further entries of `summary.json`.
        """
        count = len(measured.per_datum["elbo"])
        levels = measured.rates if len(measured.rates) > 1 else {}
        dims = measured.dims if bits else None
        closer, refined = self._refined(dims)
        table = [
            ("ELBO", str(measured.elbo), "nats per datum"),
            ("rate", str(measured.rate), "KL(q(z|x) || p(z))"),
            *((f"rate of {name}", str(rate), "its part of the rate") for name, rate in levels.items()),
            ("distortion", str(measured.distortion), "-E log p(x|z)"),
            *_evidence(measured.log_evidence, f"importance sampling, {measured.num_samples} draws a datum", dims),
            *closer,
            *rows,
            ("time", f"{self.seconds:.1f} s", f"training, {len(self.history.rows)} epochs on {self.device}"),
        ]
        print(f"\ntest    {count} data")
        for name, value, unit in (row for row in table if row[0] not in hide):
            print(f"  {name:<13}{value:>18}   {unit}")
        estimates = {name: getattr(measured, name)._asdict() for name in ("elbo", "rate", "distortion", "log_evidence")}
        content = {
            "data": self.data.describe(),
            "transform": repr(self.transform),
            "test_data": count,
            **estimates,
            "rates": {name: rate._asdict() for name, rate in measured.rates.items()},
            "num_samples": measured.num_samples,
            "bits_per_dim": measured.bits_per_dim,
            "refined": refined,
            "train_loss_per_epoch": self.history["loss"],
            "epochs": len(self.history.rows),
            "best_epoch": self.history.best_epoch,
            "seconds": round(self.seconds, 2),
            "arguments": {n: str(value) for n, value in vars(self.arguments).items() if n != "command"},
            "command": self._command(),
            "versions": {"pyrovae": __version__, "torch": torch.__version__, "python": platform.python_version()},
            "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "device": str(self.device)},
            **more,
        }
        text = json.dumps(content, indent=2, allow_nan=True)
        write_atomically(self.out / "summary.json", lambda file: file.write(text.encode()))
        if self.arguments.report:
            self.report(measured)

    def _refined(self, dims: int | None) -> tuple[list[Row], dict[str, Any]]:
        """The gaps of the guide on the scored data, for the table and for `summary.json`, where the flags want them."""
        a = self.arguments
        if not a.refine:
            return [], {}
        scored, transform = self._drawn()
        options = {"num_steps": a.refine, "num_samples": a.num_samples, "seed": a.seed, "compile": bool(a.compile)}
        try:
            split = gaps(self.model, self.guide, scored, transform=transform, **options)
        except PairError as error:
            return [("refined", "-", str(error))], {}
        rows = [
            ("refined ELBO", str(split.refined), "of the guide refined for each datum"),
            *_evidence(split.log_evidence, f"importance sampling, {split.num_samples} draws of that guide", dims),
            ("approximation", str(split.approximation), "log-evidence - refined ELBO"),
            ("amortisation", str(split.amortisation), "refined ELBO - ELBO"),
        ]
        names = ("refined", "log_evidence", "approximation", "amortisation")
        return rows, {name: getattr(split, name)._asdict() for name in names} | {"rise": split.rise}

    def _command(self) -> dict[str, Any]:
        """How this run is made again; its folder may lie below the script's."""
        command = dict(vars(self.arguments).get("command", {}))
        if command:
            command["above"] = os.path.relpath(command.pop("out"), self.out.resolve())
        return command

    def report(self, measured: Evaluation) -> None:
        """Write `report.html`."""
        classes, seed = self.data.classes or (), self.arguments.seed
        options: dict[str, Any] = {"transform": self.transform, "classes": classes, "measured": measured, "seed": seed}
        path = write_report(self.model, self.guide, self.scored, run=self.out, **options)
        print(f"report  {path}, {path.stat().st_size / 1e6:.1f} MB")

    def pictures(self) -> None:
        """Write the pictures that the data and the latent space allow."""
        self.save("curves", plots.curves(self.history.rows))
        for name, z in encode(self.model, self.guide, self.test, transform=self.transform).items():
            if z.dim() == 2 and z.shape[1] >= 2:
                self.latent_picture(name)
        x = self.test["x"]
        if x.dim() != 4 or x.shape[1] not in (1, 3):
            return
        batch = self.transform({n: t[:20].to(self.device) for n, t in self.test.items()})
        codes = encode(self.model, self.guide, batch)
        self.save("reconstructions", plots.reconstructions(batch["x"], decode(self.model, codes)))
        self.save("samples", plots.grid(generate(self.model, 100), title="the mean of p(x | z), z ~ p(z)"))
        rows = [interpolate(self.model, _one(codes, i), _one(codes, i + 1)) for i in range(0, 12, 2)]
        self.save("interpolations", plots.paths(torch.stack(rows)))
        if set(codes) != {"z"} or codes["z"].dim() != 2:
            return
        walk = traverse(self.model, self.guide, self.test, code=_one(codes, 0), transform=self.transform)
        self.save("traversals", plots.traversals(walk.x, walk.dims, walk.rates, walk.t))
        if codes["z"].shape[1] == 2:
            self.save("manifold", plots.manifold(decode(self.model, {"z": _square(20, 2.5, self.device)}), extent=2.5))

    def latent_picture(self, site: str) -> None:
        """Write the map of a latent: codes by label, and the aggregate posterior on the prior."""
        found = latent_map(self.model, self.guide, self.test, site=site, transform=self.transform)
        y, classes = self.test.get("y"), self.data.classes
        sets: dict[str, Any] = {"posterior": found.posterior, "prior": found.prior, "axes": found.axes}
        self.save(f"latent_{site}", plots.latent_map(found.mean, y, classes=classes, site=site, **sets))

    def save(self, name: str, figure: Any) -> None:
        """Write a picture into the run folder."""
        self.out.mkdir(parents=True, exist_ok=True)
        plots.save(figure, self.out / f"{name}.png")


def _evidence(evidence: Estimate, how: str, dims: int | None) -> list[Row]:
    """The rows of a log-evidence, and of its bits per number where `dims` says how many numbers a datum has."""
    rows = [("log-evidence", str(evidence), how)]
    if dims:
        value, error = evidence.bits_per_dim(dims)
        rows.append(("bits/dim", f"{value:.3f} ± {error:.3f}", f"-log-evidence / ({dims} log 2)"))
    return rows


def _one(codes: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    return {name: z[row] for name, z in codes.items()}


def _square(side: int, extent: float, device: torch.device) -> Tensor:
    """A square grid of 2-D codes, top row first."""
    line = torch.linspace(-extent, extent, side, device=device)
    return torch.stack(torch.meshgrid(line, -line, indexing="xy"), -1).reshape(-1, 2)


def shape_list(text: str) -> Sequence[int]:
    """`"400,200"` as `[400, 200]`, for flags."""
    return [int(part) for part in text.split(",") if part]
