"""Patience: when to stop, and with which weights to end."""

from functools import partial

import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.inference import IWAE, evaluate, load_weights
from pyrovae.inference.training.patience import Patience


def test_patience_stops_and_puts_the_best_weights_back(tmp_path, table_pair, table, split, weights, equal, quick):
    model, guide = table_pair()
    wild = partial(torch.optim.SGD, lr=3e-3)  # overshoots after some epochs
    history = quick(model, guide, split(), epochs=60, patience=3, optim=wild, run=tmp_path, clip_norm=50.0)
    best = max(history["elbo"])
    assert history["elbo"][history.best_epoch - 1] == best
    again = evaluate(model, guide, table(50, 2), num_samples=1, seed=0).elbo.value
    assert again == pytest.approx(best, abs=1e-4)
    other = table_pair(seed=9)
    load_weights(*other, tmp_path)
    assert equal(weights(*other), weights(model, guide))


def judged(patience, elbos, mean=None):
    """Let it judge epochs of these validation ELBOs; the weights of an epoch are its number."""
    rows = []
    for epoch, elbo in enumerate(elbos, 1):
        rows.append({"epoch": epoch} | ({} if elbo is None else {"elbo": elbo}))
        patience.judge(rows, lambda epoch=epoch: {"epoch": epoch}, mean)
        if patience.stopped == "patience":
            break
    return patience, len(rows)


def test_it_stops_after_so_many_epochs_without_a_higher_elbo():
    patience, epochs = judged(Patience(2, validated=True), [-5.0, -3.0, -4.0, -3.5, -1.0])
    assert (patience.stopped, epochs, patience.best_epoch) == ("patience", 4, 2)
    assert patience.ending == {"epoch": 2}


def test_an_equal_elbo_is_as_good_and_later():
    patience, _ = judged(Patience(2, validated=True), [-3.0, -3.0])
    assert patience.best_epoch == 2


def test_without_patience_all_epochs_run_and_the_mean_ends_them():
    patience, epochs = judged(Patience(None, validated=True), [-1.0, -2.0, -3.0, -4.0], mean={"mean": 0})
    assert (patience.stopped, epochs, patience.best_epoch) == ("epochs", 4, 1)
    assert patience.ending == {"mean": 0}
    assert judged(Patience(None, validated=False), [None, None])[0].best_epoch is None
    assert judged(Patience(None, validated=False), [None])[0].ending is None


def test_validation_that_began_late():
    patience, _ = judged(Patience(5, validated=True), [None, -2.0, -1.0])
    assert patience.best_epoch == 3


def test_patience_requires_validation_data(says):
    with says(PairError, "patience requires validation data", "valid={'x': x}"):
        Patience(3, validated=False)


def test_a_loss_that_weighs_draws_is_judged_by_its_bound(table_pair, table, split, quick):
    history = quick(
        *table_pair(), split(), epochs=4, patience=3, loss=IWAE(5), optim=partial(torch.optim.Adam, lr=0.02)
    )
    assert history.best_epoch == 1 + history["log_evidence"].index(max(history["log_evidence"]))
    assert all(row["log_evidence"] > row["elbo"] for row in history.rows)
    assert "log_evidence" not in quick(*table_pair(), split(), epochs=1, loss=IWAE(1)).rows[0]
    patience, rows = Patience(1, validated=True), []
    for epoch, (elbo, evidence) in enumerate([(-5.0, -4.0), (-6.0, -3.0), (-7.0, -2.0)], 1):
        rows.append({"epoch": epoch, "elbo": elbo, "log_evidence": evidence})
        patience.judge(rows, dict)
    assert (patience.best_epoch, patience.stopped) == (3, "epochs")
