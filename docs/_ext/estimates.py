"""A value and its error, `-88.918 ± 0.004`, stay on one line of a table."""

import re

from docutils import nodes
from sphinx.application import Sphinx

ESTIMATE = re.compile(r"-?[\d.,]+ ± (?:< )?[\d.,]+(?: %)?")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", keep_together)
    return {"parallel_read_safe": True}


def keep_together(app: Sphinx, tree: nodes.document) -> None:
    """Spaces that do not break, and a minus sign in place of a hyphen, after which a browser may break."""
    for entry in tree.findall(nodes.entry):
        for text in list(entry.findall(nodes.Text)):
            if not isinstance(text.parent, nodes.literal):
                text.parent.replace(text, nodes.Text(ESTIMATE.sub(unbroken, str(text))))


def unbroken(found: re.Match[str]) -> str:
    return found[0].replace(" ", "\u00a0").replace("-", "\u2212")
