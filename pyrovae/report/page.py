"""One HTML file, made of the templates of this folder and the content of a report."""

import html
import json
import math
from importlib import resources
from typing import Any

__all__ = ["page"]

SCRIPTS = ("elements.js", "curves.js", "map.js", "traversals.js", "trust.js", "page.js")
"""The parts of the page's script, in order: the last one draws the page."""


def page(content: dict[str, Any]) -> str:
    """The page, with its style, its script and all data inside.

    Args:
        content: `title`, `lead` and `sections`, made of plain values; NaN and infinities become null.
    """
    parts = {
        "title": html.escape(content["title"]),
        "style": _template("page.css"),
        "script": "\n".join(map(_template, SCRIPTS)),
        "content": _embedded(content),
    }
    text = _template("page.html")
    for name, part in parts.items():
        before, after = text.split(f"<!-- {name} -->")
        text = before + part + after
    return text


def _embedded(content: Any) -> str:
    """JSON that may stand inside a script element: it holds no `<`, so no string in it can end the element."""
    text = json.dumps(_finite(content), separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _finite(content: Any) -> Any:
    """The content with null in place of NaN and infinities, which JSON does not have."""
    if isinstance(content, dict):
        return {name: _finite(part) for name, part in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(part) for part in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _template(name: str) -> str:
    return (resources.files("pyrovae.report") / name).read_text(encoding="utf-8")
