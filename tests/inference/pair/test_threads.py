"""Threads: two that run pairs at the same time are told so, and the first one's numbers are right."""

import threading

import pyro
import pytest
import torch

from pyrovae.errors import ThreadError
from pyrovae.guides import NormalGuide
from pyrovae.inference import evaluate, fit
from pyrovae.inference.pair.threads import one_thread
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def pair():
    torch.manual_seed(0)
    return VAE(priors.StandardNormal(2), likelihoods.Normal(3), MLP(2, 3, (4,))), NormalGuide(MLP(3, 4, (4,)))


def in_thread(run):
    """What a function gives or raises in a thread of its own."""
    found = []

    def noted():
        try:
            found.append(run())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=noted, name="second")
    thread.start()
    thread.join()
    return found[0]


def test_a_second_thread_is_refused_and_the_first_goes_on():
    x = torch.randn(40, 3)
    options = {"epochs": 3, "batch_size": 10, "progress": False, "compile": False}
    alone = fit(*pair(), {"x": x}, **options)
    others, mine, refused = pair(), pair(), []

    def interfering(optimizer):
        def rate(epoch):
            refused.append(in_thread(lambda: evaluate(*others, {"x": x})))
            refused.append(in_thread(lambda: fit(*others, {"x": x}, **options)))
            return 1.0

        return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    assert fit(*mine, {"x": x}, scheduler=interfering, **options)["loss"] == alone["loss"]
    assert all(isinstance(error, ThreadError) for error in refused)
    assert "'second'" in str(refused[0])
    assert "threading.Lock" in str(refused[0])
    assert not pyro.settings.get("module_local_params")


def test_threads_in_turn():
    x = torch.randn(40, 3)
    first, second = (in_thread(lambda: evaluate(*pair(), {"x": x}).elbo) for _ in range(2))
    assert first == second == evaluate(*pair(), {"x": x}).elbo


def test_contexts_lie_inside_each_other_and_end_with_errors():
    with pytest.raises(KeyError), one_thread(), one_thread():
        raise KeyError
    with one_thread():
        assert isinstance(in_thread(lambda: one_thread().__enter__()), ThreadError)
    assert in_thread(lambda: evaluate(*pair(), {"x": torch.randn(5, 3)})).elbo.value < 0
