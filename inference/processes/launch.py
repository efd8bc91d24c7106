"""Starting several processes, or joining those that torchrun or `fabric run` has started: by Lightning Fabric."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch

from pyrovae.checks import check_choice, check_count
from pyrovae.errors import ProcessError, SettingError
from pyrovae.imports import imported
from pyrovae.inference.processes.processes import ALONE, Processes

__all__ = ["STRATEGIES", "current", "is_main_script", "launched"]

STRATEGIES = ("auto", "ddp")
"""How processes are started: each runs the script, and holds all weights."""

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for another one that is still connected."""

_LOGGERS = ("lightning.fabric", "lightning_fabric", "lightning_fabric.utilities.rank_zero")


class _Now:
    """The processes that were launched."""

    processes = ALONE


def current() -> Processes:
    """The processes that work together now: those that were launched, or this one alone."""
    return _Now.processes


def is_main_script() -> bool:
    """Whether this process is the one that prints and writes, by the variables that launchers set for each process."""
    ranks = ("RANK",) if "RANK" in os.environ else ("LOCAL_RANK", "NODE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def launched(devices: int, num_nodes: int, strategy: str, device: torch.device) -> Processes:
    """The processes that a training runs on: started now, joined, or those that were launched before.

    A process that torchrun or `fabric run` has started joins the others. Otherwise `devices` processes are started on
    this machine: each runs the script from its beginning, and joins here.

    Args:
        devices: processes on each machine.
        num_nodes: machines.
        strategy: one of `STRATEGIES`.
        device: what they compute on; process i of a machine takes GPU i of a `cuda` without a number.

    Raises:
        SettingError: a count below 1, another strategy, a number of processes that a launcher did not start, fewer GPUs
            than processes, or a device that several processes cannot use.
        MissingExtraError: Fabric is not installed.
        ProcessError: not all processes have joined.
    """
    devices, num_nodes = check_count("devices", devices), check_count("num_nodes", num_nodes)
    check_choice("strategy", strategy, STRATEGIES)
    size = _size(devices, num_nodes)
    if size == 1:
        return ALONE
    if not _Now.processes.alone:
        return _Now.processes
    _check_device(device, _per_node(devices))
    fabric = imported("lightning_fabric", f"A training on {size} processes requires", "pyrovae[scale]")
    _check_script(devices)
    with _quiet(), _joined(size):
        _Now.processes = _started(fabric, devices, num_nodes, device)
    return _Now.processes


def _size(devices: int, num_nodes: int) -> int:
    """How many processes there are; those of a launcher count where the arguments ask for one."""
    asked, there = devices * num_nodes, _there()
    if there is not None and asked not in (1, there):
        raise SettingError(
            f"devices * num_nodes requires {there}, the number of processes that the launcher started, got {devices} * "
            f"{num_nodes}. Leave devices and num_nodes out."
        )
    return asked if there is None else there


def _there() -> int | None:
    """How many processes a launcher has started; None where no launcher started this one."""
    if not _Now.processes.alone:
        return _Now.processes.size
    return int(os.environ["WORLD_SIZE"]) if {"RANK", "WORLD_SIZE"} <= os.environ.keys() else None


def _per_node(devices: int) -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", devices)) if _there() is not None else devices


def _check_device(device: torch.device, per_node: int) -> None:
    if device.type not in ("cpu", "cuda"):
        raise SettingError(f"Several processes require device='cpu' or 'cuda', got {device}. Write device='cpu'.")
    if device.type == "cuda" and device.index is not None:
        raise SettingError(
            f"Several processes require device='cuda', of which each takes one GPU, got {device}. Write device='cuda'."
        )
    count = torch.cuda.device_count() if device.type == "cuda" else per_node
    if count < per_node:
        raise SettingError(
            f"{per_node} processes on one machine require as many GPUs, got {count}. Write devices={count}, or "
            "device='cpu'."
        )


def _check_script(devices: int) -> None:
    """A process can be started where there is a script for it to run."""
    if _there() is None and not hasattr(sys.modules["__main__"], "__file__"):
        raise SettingError(
            f"devices={devices} requires a script, which each process runs, got an interactive session. Write the "
            "lines into a file, and run it: python FILE."
        )


def _started(fabric: Any, devices: int, num_nodes: int, device: torch.device) -> Processes:
    backend = "nccl" if device.type == "cuda" else "gloo"
    strategy = fabric.strategies.DDPStrategy(process_group_backend=backend, timeout=TIMEOUT)
    by_fabric_run = "LT_CLI_USED" in os.environ  # its flags are in the environment, and Fabric joins by itself
    there = _there()
    if there is not None:
        devices = _per_node(devices)
        num_nodes = there // devices
    given = {} if by_fabric_run else {"accelerator": device.type, "devices": devices, "num_nodes": num_nodes}
    launcher = fabric.Fabric(strategy=strategy, **given)
    if not by_fabric_run:
        launcher.launch()
    return Processes(launcher.global_rank, launcher.world_size, launcher.device)


@contextmanager
def _joined(size: int) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessError(
            f"{size} processes require that all of them join within {TIMEOUT.seconds // 60} minutes, got: {error}. "
            "Start the script again; look for the error of the process that ended first."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Fabric's lines about each process that joins."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
