"""Chunks of draws that fit into memory."""

import pytest
import torch

from pyrovae.inference.draws.form import Form
from pyrovae.inference.draws.plan import Plan

FORMS = {"z": Form((), (2,), False), "x": Form((), (300,), False)}
FIRST = {"x": torch.zeros(2, 300)}
NUMBERS = 64 * 302  # the bytes of one draw of one data point


@pytest.mark.parametrize(
    ("memory", "proposals", "rows", "draws"),
    [(NUMBERS * 5, 0, 1, 5), (NUMBERS * 24, 0, 2, 10), (NUMBERS * 50, 20, 2, 20), (1, 20, 1, 1)],
)
def test_chunks_fit_into_memory(memory, proposals, rows, draws):
    plan = Plan.of(10, proposals, FIRST, FORMS, {"z": FORMS["z"]}, memory)
    assert (plan.rows, plan.draws, plan.num_samples, plan.proposals) == (rows, draws, 10, proposals)


def test_what_is_kept_bounds_the_data_points_of_a_chunk():
    """With many corrected draws of few proposals, it is the kept draws that take the memory."""
    plan = Plan.of(1000, 10, FIRST, {"z": FORMS["z"]}, {"z": FORMS["z"]}, 64 * 128 * 3000)
    assert (plan.rows, plan.draws) == (3, 10)


def test_parts_cover_all_draws():
    parts = list(Plan(7, 0, 1, 3).parts(7))
    assert [(part.start, part.stop) for part in parts] == [(0, 3), (3, 6), (6, 7)]
