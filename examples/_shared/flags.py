"""The flags of the examples: those that all of them have, and copies with other values."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pyrovae import data
from pyrovae.examples._shared import values
from pyrovae.examples._shared.started import named_in, started
from pyrovae.tracking import KINDS

__all__ = ["SCHEDULES", "DefaultFolder", "add_binarize", "complete", "derive", "explained", "parser"]

SCHEDULES = ("constant", "cosine")
"""The schedules of the learning rate."""


Flags = argparse._ArgumentGroup
"""A group of flags in `--help`."""


class DefaultFolder(type(Path())):  # type: ignore[misc]  # before Python 3.12 only a system's own path has subclasses
    """The run folder of a script that was given none; where it is taken, the script takes the next number."""


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help that shows defaults, and keeps the lines of a docstring."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line; `--help` shows the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the message without the usage, and exit with 2.

        Args:
            message: what is wrong with the command line.
        """
        self.exit(2, f"error: {message.rstrip('.')}. {self.prog} --help lists the flags.\n")


def explained(doc: str, *, allow_abbrev: bool = True) -> argparse.ArgumentParser:
    """A parser whose `--help` shows a docstring, with the command that started this process in its command lines.

    Args:
        doc: the docstring of a script; its first line is the description.
        allow_abbrev: whether a flag may be shortened.
    """
    first, _, more = doc.replace("%", "%%").partition("\n")
    name = named_in(doc)
    return Parser(
        prog=started(name) if name else None,
        usage="%(prog)s [-h] [FLAGS]",
        description=first,
        epilog=more.strip().replace(f"python examples/{name}.py", "%(prog)s") if name else None,
        formatter_class=Help,
        allow_abbrev=allow_abbrev,
    )


def parser(doc: str, *, out: str, epochs: int, closing: bool = True) -> argparse.ArgumentParser:
    """The flags that every example has.

    Args:
        doc: the docstring of the script, which `--help` shows.
        out: the default of `--out`.
        epochs: the default of `--epochs`.
        closing: whether the example ends with a closing table, which has flags of its own.
    """
    p = explained(doc)  # what an example adds to it stands first in --help
    _add_data(p.add_argument_group("data"))
    _add_training(p.add_argument_group("training"), epochs)
    _add_computation(p.add_argument_group("computation"))
    _add_results(p.add_argument_group("results"), out, closing)
    return p


def _add_results(p: Flags, out: str, closing: bool) -> None:
    p.add_argument(
        "--evaluate", type=values.whole, default=500, help="number of test data points to score; 0 scores all"
    )
    p.add_argument(
        "--num-samples", type=values.positive_int, default=500, help="importance samples per test data point"
    )
    if closing:
        steps = "steps, 10 or more, that refine the guide for each test data point, for a tighter evidence; 0: none"
        p.add_argument("--refine", type=values.refining_steps, default=0, metavar="STEPS", help=steps)
        p.add_argument("--report", action="store_true", help="write report.html, one page that shows the run")
    folder = "run folder, which must hold no run; by default, the first of %(default)s, %(default)s-2, ... that is free"
    p.add_argument("--out", type=Path, default=DefaultFolder(out), help=folder)
    newest = "the run in the run folder; by default, the newest run of this example"
    p.add_argument("--resume", action="store_true", help=f"continue {newest}")
    p.add_argument("--overwrite", action="store_true", help=f"replace {newest}")
    p.add_argument("--quiet", action="store_true", help="show no progress bar")


def _add_data(p: Flags) -> None:
    sources = f"one of {', '.join(data.NAMES)}, folder:PATH, or a .npy, .npz, .csv, .txt or .tsv file"
    p.add_argument("--data", default="digits", help=sources)
    p.add_argument("--root", help="folder of the data files; by default, $PYROVAE_DATA or the user's cache")
    p.add_argument(
        "--image-size", type=values.positive_int, help="resize the images of folder:PATH to this many pixels a side"
    )
    held = "number of training data points to hold out for validation; by default, the set's own choice"
    p.add_argument("--valid", type=values.whole, help=held)
    largest = "most bytes that your own data may take in memory"
    p.add_argument("--max-bytes", type=values.byte_count, default=data.LOAD_LIMIT, help=largest)
    p.add_argument(
        "--test", type=values.whole, help="number of data points to hold out for testing, in files without a split"
    )


def _add_training(p: Flags, epochs: int) -> None:
    p.add_argument("--start", type=Path, metavar="RUN", help="start from the weights of another run of the same pair")
    p.add_argument("--epochs", type=values.whole, default=epochs, help="passes over the training data")
    p.add_argument("--batch-size", type=values.positive_int, default=128, help="data points per step")
    p.add_argument("--lr", type=values.positive, default=1e-3, help="learning rate of AdamW")
    p.add_argument(
        "--weight-decay", type=values.non_negative, default=0.0, help="weight decay of AdamW; 0 makes it Adam"
    )
    schedules = "schedule of the learning rate; cosine ends at 0"
    p.add_argument("--schedule", choices=SCHEDULES, default="constant", help=schedules)
    p.add_argument(
        "--patience", type=values.positive_int, help="stop after this many epochs without a higher validation ELBO"
    )
    average = "decay of a moving average of the weights over epochs; 0.95 averages about twenty, 0 averages none"
    p.add_argument("--average", type=values.below_one, default=0.0, help=average)
    p.add_argument(
        "--clip-norm", type=values.positive, help="largest norm of the gradients; larger ones are scaled down"
    )


def _add_computation(p: Flags) -> None:
    p.add_argument(
        "--seed", type=values.seed, default=0, help="seed of the weights, the order of the data and all noise"
    )
    p.add_argument("--device", type=values.device, default="auto", help="auto, cpu, cuda or mps")
    p.add_argument("--precision", default="fp32", choices=("fp32", "bf16"), help="precision of matrix products")
    compiled = "compile each step at once, or never; by default, long trainings compile beside their first 512 steps"
    p.add_argument("--compile", action=argparse.BooleanOptionalAction, help=compiled)
    tracked = "send settings, each epoch and pictures to a tracker; tensorboard writes into the run folder"
    p.add_argument("--track", choices=KINDS, help=tracked)


def add_binarize(p: argparse.ArgumentParser, *, default: str = "dynamic") -> None:
    """Add `--binarize`, the mode of `data.Binarize`.

    Args:
        p: the parser of an example.
        default: the default of the flag.
    """
    modes = "how grey levels become bits, for a Bernoulli likelihood"
    p.add_argument("--binarize", choices=("dynamic", "static", "threshold"), default=default, help=modes)


def derive(
    flags: argparse.Namespace,
    *,
    out: Path | None = None,
    epochs: int | None = None,
    num_samples: int | None = None,
    seed: int | None = None,
    start: Path | None = None,
    resume: bool | None = None,
    overwrite: bool | None = None,
    quiet: bool | None = None,
) -> argparse.Namespace:
    """A copy of the flags for one of several runs of a script; None keeps the value of a flag.

    Args:
        flags: the flags of the script.
        out: the run folder.
        epochs: passes over the training data.
        num_samples: importance samples per test data point.
        seed: the seed.
        start: the run whose weights are the first ones.
        resume: whether to continue the run in the run folder.
        overwrite: whether to replace the run in the run folder.
        quiet: whether to show no progress bar.
    """
    own = {"out": out, "epochs": epochs, "num_samples": num_samples, "seed": seed, "start": start}
    own |= {"resume": resume, "overwrite": overwrite, "quiet": quiet}
    return argparse.Namespace(**vars(flags) | {name: value for name, value in own.items() if value is not None})


def complete(flags: argparse.Namespace, defaults: Mapping[str, Any]) -> argparse.Namespace:
    """A copy of the flags where defaults, which depend on the data, replace None.

    Args:
        flags: the flags of the script.
        defaults: the values of flags that were not given.
    """
    missing = {name: value for name, value in defaults.items() if getattr(flags, name) is None}
    return argparse.Namespace(**vars(flags) | missing)
