"""The sections of a report: functions from a pair, or from what was measured, to plain values that the page draws.

A section that does not apply to a pair is None.
"""

from pyrovae.report.sections.data import draws, reconstructions, samples
from pyrovae.report.sections.glossary import glossary
from pyrovae.report.sections.latent import latent_map, traversals
from pyrovae.report.sections.run import curves, overview
from pyrovae.report.sections.section import Section
from pyrovae.report.sections.trust import evidence, trust

__all__ = [
    "Section",
    "curves",
    "draws",
    "evidence",
    "glossary",
    "latent_map",
    "overview",
    "reconstructions",
    "samples",
    "traversals",
    "trust",
]
