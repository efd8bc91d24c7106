"""A speed run: the minutes that a convolutional ladder of eight levels takes to 90, 88, 86, 85 and 84 nats on MNIST.

    python benchmarks/speed_run.py --data mnist

Training starts from random weights, on 60,000 images that are binarised anew at each step. After each third epoch, on a
clock that stands still, -log p(x) of the test images is estimated: all of them give the ELBO by one draw, and the first
500 of them the distance from the ELBO to the evidence by 20 draws. More draws could only lower it. The run chooses
nothing by it. At the end, `--num-samples` draws score the first `--evaluate` test images, 0 for all.

Any flag of `examples/hierarchical_vae.py` overrides the recipe below, such as `--epochs 2` for a trial.
"""

import math
import sys
import time
from functools import partial

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyrovae import data
from pyrovae.examples import hierarchical_vae as ladder
from pyrovae.inference import ELBO, EpochReport, evaluate, fit
from pyrovae.inference.objectives import Linear

RECIPE = """--arch conv --latents 2,4,4,4,4,4,8,16 --width 40 --free-bits 0.5 --warm-up 1 --epochs 14 --batch-size 128
--lr 1.2e-3 --weight-decay 0.05 --clip-norm 100 --precision bf16 --out runs/speed_run"""
"""The flags of `examples/hierarchical_vae.py`; the learning rate falls to 0 by half a cosine."""

TARGETS = 90, 88, 86, 85, 84, 83, 82
"""Nats per image, -log p(x)."""


class Milestones:
    """Prints the minutes of training at which each target is passed; scoring does not count."""

    def __init__(self, test: data.Batch, epochs: int) -> None:
        self.test, self.epochs, self.left = test, epochs, list(TARGETS)
        self.began, self.scoring = time.monotonic(), 0.0

    def minutes(self) -> float:
        """The minutes since the start, without scoring."""
        return (time.monotonic() - self.began - self.scoring) / 60

    def __call__(self, report: EpochReport) -> None:
        """Score the pair after each third epoch and the last."""
        if report.epoch % 3 and report.epoch < self.epochs:
            return
        minutes, now = self.minutes(), time.monotonic()
        nats = negative_log_evidence(report, self.test)
        print(f"epoch {report.epoch:3}  {minutes:6.1f} min  -log p(x) <= {nats:.2f}", flush=True)
        while self.left and nats <= self.left[0]:
            print(f"          {minutes:6.1f} min to {self.left.pop(0)} nats", flush=True)
        self.scoring += time.monotonic() - now


def negative_log_evidence(report: EpochReport, test: data.Batch, some: int = 500) -> float:
    """The ELBO of all images, and the distance from it to the evidence of some, which varies little over images."""
    few = {name: values[:some] for name, values in test.items()}
    elbo = evaluate(report.model, report.guide, test, transform=report.transform, num_samples=1)
    close = evaluate(report.model, report.guide, few, transform=report.transform, num_samples=20)
    return -(elbo.elbo.value + close.log_evidence.value - close.elbo.value)


def main() -> None:
    """Train by the recipe, with the flags of the command line after it, and score."""
    flags = ladder.arguments([*RECIPE.split(), *sys.argv[1:]])
    torch.manual_seed(flags.seed)
    images = data.load(flags.data, root=flags.root, valid=0)
    model, guide, transform = ladder.pair(flags, images.train)
    steps = flags.warm_up * math.ceil(len(images.train["x"]) / flags.batch_size)
    milestones = Milestones(images.test, flags.epochs)
    fit(
        model,
        guide,
        images,
        loss=ELBO(kl_weight=Linear(0.3, 1.0, steps), free_bits=flags.free_bits),
        optim=(torch.optim.AdamW, {"lr": flags.lr, "weight_decay": flags.weight_decay}),
        scheduler=partial(CosineAnnealingLR, T_max=flags.epochs),
        transform=transform,
        callbacks=[milestones],
        epochs=flags.epochs,
        batch_size=flags.batch_size,
        clip_norm=flags.clip_norm,
        precision=flags.precision,
        compile=True,
        seed=flags.seed,
        run=flags.out,
        resume=flags.resume,
        overwrite=flags.overwrite,
        progress=not flags.quiet,
    )
    print(f"trained in {milestones.minutes():.1f} min, without {milestones.scoring / 60:.1f} min of scoring")
    some = {name: values[: flags.evaluate or None] for name, values in images.test.items()}
    print(evaluate(model, guide, some, transform=transform, num_samples=flags.num_samples))


if __name__ == "__main__":
    main()
