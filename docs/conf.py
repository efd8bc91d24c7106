"""The site: Sphinx, MyST-NB and furo. `sphinx -W -n` must pass, and nothing is fetched while it runs."""

import logging
import os
import sys
from pathlib import Path

from sphinx.application import Sphinx

from pyrovae.version import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
# A notebook that imports Pyro first would show this warning of tqdm's bars: there are no widgets at a build.
os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")

project = "pyrovae"
author = "The pyrovae authors"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "blocks",
    "estimates",
    "example",
    "formulas",
    "links",
    "mathml",
    "public_names",
]
exclude_patterns = ["_build", "jupyter_execute", "**/.ipynb_checkpoints"]
smartquotes_action = "D"  # only dashes
default_role = "code"  # docstrings write code in single backticks

# Pages: MyST Markdown, with GitHub's addresses of headings; notebooks run at each build.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_in_temp = True  # what a notebook writes stays out of docs/
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 180
nb_merge_streams = True

# Reference: types come from annotations. Those of other packages are not linked: their inventories need a network.
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_use_rtype = False
napoleon_use_param = False
napoleon_custom_sections = [("Attributes", "params_style")]
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|pyro|numpy|np|matplotlib|pandas|sklearn|arviz|xarray|onnx|collections|pathlib|os)\b.*"),
    (r"py:.*", r"Batch|Figure|Image|ProgramLike|Shape|Transform|functools\.partial"),
    (r"py:.*", r"pyrovae\..*\.(OverProcesses|RunFiles|Whole)"),
    (r"py:.*", r"(typing\.)?(Any|Callable|Iterable|Iterator|Literal|Mapping|Sequence|Self|TypeVar)"),
]

# The look: furo, with the formulas' and tables' rules in one style sheet.
html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"pyrovae {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["llms.txt"]
html_copy_source = False
html_show_sourcelink = False
copybutton_prompt_text = "$ "


def setup(app: Sphinx) -> None:
    """Let a table of contents name pages that may or may not be there, by a pattern."""
    toctree = logging.getLogger("sphinx.sphinx.directives.other")
    toctree.addFilter(lambda record: "didn't match any documents" not in str(record.msg))
