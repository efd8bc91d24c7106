"""Processes that end: what the others do, and how they find out which one it was.

gloo notices at once that a connection is closed. A process that loses one says so in the store that all share, and
closes its own connections, so that no other waits for it. Then it looks who else has said something. A process that is
silent and no longer runs has died.
"""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch.distributed as dist

from pyrovae.errors import ProcessError, PyrovaeError
from pyrovae.inference.processes.processes import Member, Processes

__all__ = ["together"]

_LOST = "lost its connection"
_ABOUT_CONNECTIONS = re.compile(r"gloo|nccl|connection|socket|timed? ?out|broken pipe|peer", re.IGNORECASE)
"""What torch says where another process is gone."""

_SECONDS = 20.0
"""How long a process that is still running is waited for, until it is said not to answer."""

_AGREE_SECONDS = 5.0
"""How long a process whose own code failed waits for the others to fail too."""

_PAUSE = 0.05


class _State:
    """How many times the processes have begun something, and whether one of them is lost."""

    begun = 0
    inside = False
    lost = ""


@contextmanager
def together(processes: Processes) -> Iterator[None]:
    """Inside, the end of one process ends what the others do; contexts may lie inside each other.

    Args:
        processes: those that work inside.

    Raises:
        ProcessError: another process has ended, or has failed alone; the message names it.
    """
    if processes.alone or _State.inside:
        yield
        return
    if _State.lost:
        raise ProcessError(f"{_State.lost} Start the script again in all processes.")
    _State.begun, _State.inside = _State.begun + 1, True
    try:
        yield
    except BaseException as error:
        lost = _is_about_connections(error)
        _say(processes, _LOST if lost else f"{type(error).__name__}: {error}")
        if lost:
            raise ProcessError(_found(processes)) from error
        if not _all_said(processes):
            _close(f"Process {processes.rank} has failed alone: {type(error).__name__}: {error}")
        raise
    finally:
        _State.inside = False


def _is_about_connections(error: BaseException) -> bool:
    if isinstance(error, PyrovaeError) or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, getattr(dist, "DistError", ())) or bool(_ABOUT_CONNECTIONS.search(str(error)))


def _key(rank: int) -> str:
    return f"pyrovae/ended/{_State.begun}/{rank}"


def _say(processes: Processes, why: str) -> None:
    """Tell the others why this process ends; where the store is gone there is nobody to tell."""
    with suppress(Exception):
        processes.store.set(_key(processes.rank), why)


def _said(processes: Processes, rank: int) -> str | None:
    """What a process said when it ended; None if nothing."""
    try:
        key = _key(rank)
        return processes.store.get(key).decode() if processes.store.check([key]) else None
    except Exception:  # the process that keeps the store is gone
        return None


def _all_said(processes: Processes) -> bool:
    """Whether all others fail too, as where a loss is not finite: then they stay connected."""
    waiting, until = set(range(processes.size)) - {processes.rank}, time.monotonic() + _AGREE_SECONDS
    while waiting and time.monotonic() < until:
        waiting = {rank for rank in waiting if _said(processes, rank) is None}
        time.sleep(_PAUSE if waiting else 0)
    return not waiting


def _found(processes: Processes) -> str:
    """Close the connections, and say which process ended, and why."""
    _close("A process was lost.")
    others = [rank for rank in range(processes.size) if rank != processes.rank]
    said: dict[int, str | None] = {}
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        said |= {rank: _said(processes, rank) for rank in others if said.get(rank) is None}
        if all(said[rank] is not None or _is_dead(processes.members[rank]) for rank in others):
            break
        time.sleep(_PAUSE)
    _State.lost = _named(processes, said)
    _keep_store(processes, [rank for rank in others if said[rank] is not None])
    return f"{_State.lost} Start the script again; resume=True (--resume) continues from the last checkpoint."


def _keep_store(processes: Processes, readers: list[int]) -> None:
    """Let the others read what was said before process 0, which keeps the store, ends."""
    with suppress(Exception):
        processes.store.set(f"{_key(processes.rank)}/read", "")
        until = time.monotonic() + _AGREE_SECONDS
        while processes.main and time.monotonic() < until:
            if processes.store.check([f"{_key(rank)}/read" for rank in readers]):
                break
            time.sleep(_PAUSE)


def _named(processes: Processes, said: dict[int, str | None]) -> str:
    """The sentence that names the process which ended first."""
    silent = [rank for rank, why in said.items() if why is None]
    dead = [rank for rank in silent if _is_dead(processes.members[rank])]
    for rank in dead or silent:
        host, number = processes.members[rank]
        how = "was killed or crashed" if rank in dead else "does not answer"
        return f"Process {rank} of {processes.size} (number {number} on {host}) {how}."
    failed = [(rank, why) for rank, why in said.items() if why is not None and why != _LOST]
    if failed:
        rank, why = failed[0]
        return f"Process {rank} of {processes.size} failed: {why.rstrip('.')}."
    return f"The {processes.size} processes lost their connection."


def _is_dead(member: Member) -> bool:
    """Whether a process of this host no longer runs; nobody knows of those of another host."""
    host, number = member
    if host != socket.gethostname():
        return False
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    status = Path(f"/proc/{number}/stat")  # Linux: a process that nobody has waited for is there, as a zombie
    with suppress(OSError):
        return status.read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    return False


def _close(why: str) -> None:
    """End the connections of this process; it cannot work with the others any more."""
    _State.lost = why
    with suppress(Exception):
        dist.destroy_process_group()
