"""The rows of a printed table, of which long ones are cut."""

__all__ = ["shortened"]

MOST = 20


def shortened(rows: list[str]) -> list[str]:
    """At most 20 rows, and a last one with the number of the rows that are left out.

    Args:
        rows: the rows of a table without its head.
    """
    return rows[:MOST] + ([f"and {len(rows) - MOST} more"] if len(rows) > MOST else [])
