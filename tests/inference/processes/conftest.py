"""Two processes on one machine."""

import os
import socket
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

WORK = Path(__file__).with_name("work.py")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(rank, port, size=2):
    """The variables that torchrun sets."""
    ours = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": size,
        "LOCAL_WORLD_SIZE": size,
        "GROUP_RANK": 0,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": "test",
        "OMP_NUM_THREADS": 1,
    }
    return os.environ | {name: str(value) for name, value in ours.items()}


def start(*arguments, size=2):
    """Processes that run a script together."""
    port = free_port()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, *map(str, arguments)]
    return [subprocess.Popen(command, env=environment(rank, port, size), **pipes) for rank in range(size)]


def work(name, folder):
    """What both processes found."""
    running = start(WORK, name, folder)
    for process in running:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.fixture(scope="session")
def one():
    """work.py as a module: the same tasks in this process."""
    spec = spec_from_file_location("work", WORK)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def two():
    """Functions that start two processes, and that collect what work.py found in both."""
    return start, work
