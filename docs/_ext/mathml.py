"""Formulas as MathML, which browsers draw by themselves: no script, no network, no LaTeX."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="formula">{mathml(node, as_block=True)}</div>')
    raise nodes.SkipNode


def mathml(node: nodes.Node, *, as_block: bool) -> str:
    """A formula in MathML, or its TeX with a warning where docutils cannot read it."""
    try:
        tex = re.sub(r"\\tfrac(\w)(\w)", r"\\frac{\1}{\2}", node.astext())  # docutils knows no \tfrac
        return tex2mathml(tex, as_block=as_block)
    except MathError as error:
        logger.warning("docutils cannot read the formula %r: %s", node.astext(), error, location=node)
        return f"<code>{escaped(node.astext())}</code>"


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
