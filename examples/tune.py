"""Optuna searches learning rate, latent dimension and weight of the rate by the validation ELBO, and prunes.

python examples/tune.py                                         20 trials; a table, pictures, the best pair
python examples/tune.py --workers 2                             two processes share the study
python examples/tune.py --trials 60 --out runs/study            start it in two terminals: they share it too
python examples/tune.py --trials 90 --out runs/study --resume   go on with a study that has ended
python examples/tune.py --latent 20 --arch conv                 what is given is not searched; flags of the example vae

A weight other than 1 changes what is trained, not what is compared: the validation ELBO of every trial has weight 1.

Data: 5,000 real digits, offline.
"""

import argparse
import multiprocessing
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from pyrovae.data import Dataset
from pyrovae.errors import NonFiniteError, PairError, SettingError
from pyrovae.examples import vae
from pyrovae.examples._shared import (
    DefaultFolder,
    Trained,
    explained,
    load_data,
    main,
    save_picture,
    score,
    train,
    values,
    write_comparison,
    write_summary,
)
from pyrovae.imports import imported
from pyrovae.inference import ELBO, EpochReport
from pyrovae.plots.figure import PALETTE, new_figure, plain

__all__ = ["arguments", "search"]

SMALL = ["--epochs", "8", "--hidden", "200"]
"""The flags of the example vae."""

RANGES: dict[str, tuple[float, float]] = {"lr": (3e-4, 1e-2), "latent": (2, 40), "kl_weight": (0.25, 2.0)}
"""Where the search looks, on a logarithmic scale."""

TICKS = {"lr": (3e-4, 1e-3, 3e-3, 1e-2), "latent": (2, 5, 10, 20, 40), "kl_weight": (0.25, 0.5, 1.0, 2.0)}

TITLES = {"lr": "learning rate", "latent": "latent dimension", "kl_weight": "weight of the rate"}

FREE = {"out", "trials", "workers", "resume", "overwrite", "quiet", "command", "device", "compile", "track", "report"}
"""Flags in which processes that share a study may differ."""

SHOWN = {"COMPLETE": ("complete", PALETTE[0], 28), "PRUNED": ("pruned", PALETTE[9], 14)}
"""The states of a trial that are shown: the word, the colour, and the size of a dot."""

JOURNAL = "journal.log"
"""The file that processes share a study through."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example, and those of the example vae.

    Args:
        argv: the command line; by default that of the process.
    """
    p = explained(__doc__, allow_abbrev=False)
    p.add_argument("--trials", type=values.positive_int, default=20, help="trials of the study, those before included")
    p.add_argument("--workers", type=values.positive_int, default=1, help="processes that share the study")
    p.add_argument("--lr", type=values.positive, help="learning rate of AdamW; searched if not given")
    p.add_argument("--latent", type=values.positive_int, help="latent dimension; searched if not given")
    p.add_argument(
        "--kl-weight", type=values.non_negative, help="weight of the rate in training; searched if not given"
    )
    own, further = p.parse_known_args(argv)
    parsed = vae.arguments([*SMALL, *further])
    if isinstance(parsed.out, DefaultFolder):
        parsed.out = DefaultFolder("runs/tune")
    return argparse.Namespace(**vars(parsed) | vars(own))


# The study ---------------------------------------------------------------------------------------------------------


def study_of(flags: argparse.Namespace, worker: int) -> Any:
    """The study in the run folder, which several processes share through its journal.

    Args:
        flags: the flags of this example.
        worker: the number of this process; each samples other values.
    """
    optuna = imported("optuna", "This example requires", "pyrovae[track]")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    flags.out.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(flags.out / JOURNAL)))
    study = optuna.create_study(storage=storage, study_name="tune", direction="maximize", load_if_exists=True)
    study.sampler = optuna.samplers.TPESampler(seed=flags.seed + worker + len(study.trials))
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    same = {name: str(value) for name, value in sorted(vars(flags).items()) if name not in FREE}
    before = study.user_attrs.get("flags")
    if before not in (None, same):
        differ = {name: value for name, value in before.items() if same.get(name) != value}
        raise SettingError(f"A study requires the same flags in every process, got others than {differ}. Use --out.")
    study.set_user_attr("flags", same)
    return study


def search(flags: argparse.Namespace, worker: int = 0) -> Any:
    """Run trials until the study has as many as it should have, and return the study.

    Args:
        flags: the flags of this example.
        worker: the number of this process.
    """
    torch.set_num_threads(max(1, torch.get_num_threads() // flags.workers))
    study, dataset = study_of(flags, worker), load_data(flags, kind="images" if flags.arch == "conv" else "numbers")
    if not dataset.valid:
        raise PairError("The search requires validation data, got none. Leave --valid 0 out.")

    def objective(trial: Any) -> float:
        chosen = {name: getattr(flags, name) or suggested(trial, name) for name in RANGES}
        print(f"\ntrial   {trial.number}: {described(chosen)}")
        own = flags_of(flags, trial.number, chosen)
        return max(trained(own, dataset, callbacks=[pruning(trial)]).history["elbo"])

    while len(ended(study)) < flags.trials:
        study.optimize(objective, n_trials=1, catch=(NonFiniteError,))
    return study


def suggested(trial: Any, name: str) -> float:
    """A value that the sampler proposes."""
    low, high = RANGES[name]
    return (
        trial.suggest_int(name, low, high, log=True)
        if name == "latent"
        else trial.suggest_float(name, low, high, log=True)
    )


def pruning(trial: Any) -> Callable[[EpochReport], None]:
    """A callback that reports each epoch to the study, and ends a trial that is worse than most were by then."""

    def see(report: EpochReport) -> None:
        trial.report(report.row["elbo"], report.epoch)
        if trial.should_prune():
            optuna = imported("optuna", "This example requires", "pyrovae[track]")
            raise optuna.TrialPruned

    return see


def ended(study: Any) -> list[Any]:
    """The trials that have ended."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def flags_of(flags: argparse.Namespace, number: int, chosen: dict[str, float]) -> argparse.Namespace:
    """The flags of one trial, whose run folder lies in that of the study."""
    own = {"out": flags.out / f"trial-{number:03d}", "resume": False, "overwrite": False, "quiet": True}
    return argparse.Namespace(**vars(flags) | own | chosen)


def trained(flags: argparse.Namespace, dataset: Dataset, **options: Any) -> Trained:
    """The pair of one trial; with `flags.resume` that of a trial that has ended, with its best weights."""
    torch.manual_seed(flags.seed)
    own = argparse.Namespace(**vars(flags) | {"patience": flags.patience or flags.epochs or None})
    return train(*vae.pair(own, dataset.train), dataset, own, loss=ELBO(kl_weight=flags.kl_weight), **options)


# The results -------------------------------------------------------------------------------------------------------


def described(chosen: dict[str, float]) -> str:
    """The values of a trial in words."""
    return ", ".join(f"{TITLES[name]} {value:.3g}" for name, value in chosen.items())


def measured(trial: Any) -> float:
    """The highest validation ELBO of a trial, be it pruned."""
    return max(trial.intermediate_values.values())


def standing(trial: Any) -> tuple[bool, float]:
    """What puts the trials in order: those that were not pruned first, then by the validation ELBO."""
    return trial.state.name == "COMPLETE", measured(trial)


def tabulate(found: Sequence[Any], flags: argparse.Namespace) -> None:
    """Print the best trials."""
    print(f"\n{'trial':>5}{'learning rate':>15}{'latent':>8}{'KL weight':>11}{'epochs':>8}{'validation ELBO':>17}")
    for trial in found[:10]:
        lr, latent, weight = (trial.params.get(name) or getattr(flags, name) for name in RANGES)
        epochs = f"{len(trial.intermediate_values)}{'' if trial.state.name == 'COMPLETE' else '*'}"
        print(f"{trial.number:>5}{lr:>15.2e}{latent:>8}{weight:>11.2f}{epochs:>8}{measured(trial):>17.2f}")
    pruned = sum(trial.state.name == "PRUNED" for trial in found)
    print(f"nats per data point, at weight 1 whatever the training had; *: pruned, as {pruned} of {len(found)} trials")


def draw(found: Sequence[Any], out: Path) -> None:
    """Write `search.png`, the values of all trials, and `validation.png`, their epochs."""
    names = [name for name in RANGES if name in found[0].params]
    if names:
        figure = new_figure(1 + 2.9 * len(names), 3.2)
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            for state, (label, colour, size) in SHOWN.items():
                some = [trial for trial in found if trial.state.name == state]
                across, up = [trial.params[name] for trial in some], [measured(trial) for trial in some]
                axes.scatter(across, up, color=colour, s=size, label=label)
            axes.set(xscale="log", xlabel=TITLES[name], ylabel="validation ELBO, nats")
            axes.set_xticks(TICKS[name], [f"{tick:g}" for tick in TICKS[name]])
            axes.minorticks_off()
            plain(axes)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        save_picture(figure, out, "search")
    figure = new_figure(6.2, 4.2)
    axes = figure.subplots()
    for trial in found[::-1]:
        best, (_, colour, _) = trial is found[0], SHOWN[trial.state.name]
        epochs, elbos = zip(*sorted(trial.intermediate_values.items()), strict=True)
        axes.plot(epochs, elbos, color=PALETTE[1] if best else colour, linewidth=2.0 if best else 0.8, marker=".")
    axes.set(xlabel="epoch", ylabel="nats per data point")
    plain(axes, f"validation ELBO of each trial; the best is number {found[0].number}")
    save_picture(figure, out, "validation")


def entries(trial: Any) -> dict[str, Any]:
    """What the file says of a trial."""
    return {"params": trial.params, "state": trial.state.name, "elbo": list(trial.intermediate_values.values())}


def clear(out: Path) -> None:
    """Remove the study that is replaced."""
    for path in (*out.glob(f"{JOURNAL}*"), out / "comparison.json"):
        path.unlink(missing_ok=True)
    for folder in out.glob("trial-[0-9]*"):
        shutil.rmtree(folder)


def script(flags: argparse.Namespace) -> None:
    """Search, and score the best pair on the test data."""
    if flags.overwrite:
        clear(flags.out)
    study_of(flags, 0)  # so that processes find it
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=search, args=(flags, n), daemon=True) for n in range(1, flags.workers)]
    for process in others:
        process.start()
    study = search(flags)
    for process in others:
        process.join()
    found = sorted((trial for trial in ended(study) if trial.state.name in SHOWN), key=standing, reverse=True)
    if not found or found[0].state.name == "PRUNED":
        raise PairError("The search requires a trial with finite losses, got none. Write a smaller --lr.")
    tabulate(found, flags)
    write_comparison(flags.out, {f"trial-{trial.number:03d}": entries(trial) for trial in found})
    draw(found, flags.out)
    chosen = {name: found[0].params.get(name) or getattr(flags, name) for name in RANGES}
    own = argparse.Namespace(**vars(flags_of(flags, found[0].number, chosen)) | {"resume": True})
    print(f"\nbest    trial {found[0].number}: {described(chosen)}")
    best = trained(own, load_data(flags))
    write_summary(best, score(best, own), own)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
