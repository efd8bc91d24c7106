"""Printed tables."""

from pyrovae.inference.latent.table import shortened


def test_a_short_table_keeps_its_rows():
    rows = [str(i) for i in range(20)]
    assert shortened(rows) == rows


def test_a_long_table_counts_what_it_leaves_out():
    rows = [str(i) for i in range(33)]
    assert shortened(rows) == [*rows[:20], "and 13 more"]
