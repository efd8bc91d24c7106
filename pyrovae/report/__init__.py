"""The report: one HTML file that shows a trained pair, and how far to trust it.

`write_report` is for any pair; `report_folder`, or `python -m pyrovae.report runs/vae`, shows what a run folder holds
without the pair, and runs nothing.
"""

from pyrovae.report.folder import report_folder
from pyrovae.report.write import write_report

__all__ = ["report_folder", "write_report"]
