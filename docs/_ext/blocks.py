"""What autodoc does not show by itself: indented blocks of docstrings, and the words below a constant."""

import ast
import re
import sys
from typing import Any

from formulas import leading_formula, tex
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

INDENT = "    "
LETTER = re.compile(r"^( +[\w, ]+: [A-Za-z])\.$")
"""An argument that is one letter, `size: N.`; "N." alone would begin a numbered list."""


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", show_constant, priority=300)
    app.connect("autodoc-process-docstring", show_blocks, priority=410)  # after `formulas`, which escapes bars
    app.connect("autodoc-skip-member", skip_alias)
    return {"parallel_read_safe": True}


def show_constant(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """The text below a constant, in the module that defines it; autodoc looks in the package that exports it alone."""
    if what != "data":
        return
    last = name.rpartition(".")[2]
    for module in [module for module in sys.modules if module.startswith("pyrovae.")]:
        if vars(sys.modules[module]).get(last) is obj:
            found = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", last))
            if found:
                lines[:] = found
                return


def show_blocks(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """An indented block between paragraphs is a formula, or code; Sphinx would take it for a quotation."""
    lines[:], done = [LETTER.sub(r"\1\\.", line) for line in lines], list[str]()
    while lines:
        if not starts(done, lines[0]):
            done.append(lines.pop(0))
            continue
        block = []
        while lines and (lines[0].startswith(INDENT) or not lines[0].strip()):
            block.append(lines.pop(0).removeprefix(INDENT).replace(r"\|", "|"))
        done += directive(block)
    lines[:] = done


def skip_alias(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of a named tuple, which its docstring describes: "Alias for field number 0" says nothing."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def starts(before: list[str], line: str) -> bool:
    """Whether a block starts here: after an empty line and a paragraph that is no entry of a list."""
    return (
        line.startswith(INDENT) and len(before) > 1 and not before[-1] and not before[-2].startswith((" ", "- ", ".."))
    )


def directive(block: list[str]) -> list[str]:
    """A block as a formula or as code."""
    text = " ".join(line.strip() for line in block).strip()
    formula = leading_formula(text)
    if formula == text.rstrip(".,"):
        return [".. math::", "", f"   {tex(formula)}", ""]
    return [f".. code-block:: {'python' if parses(block) else 'none'}", "", *(f"   {line}" for line in block), ""]


def parses(block: list[str]) -> bool:
    try:
        ast.parse("\n".join(block))
    except SyntaxError:
        return False
    return True
