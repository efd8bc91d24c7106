"""The report: one HTML file that shows a trained pair, and how far to trust it.

`write_report` is for any pair; `python -m pyrovae.report runs/vae` is for the runs of the example scripts.
"""

from pyrovae.report.write import write_report

__all__ = ["write_report"]
