"""A public name in code type is a link to its place in the reference: `fit(...)`, `pyrovae.data.load`, `Diagnosis`."""

from collections import Counter

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

KINDS = ("class", "function", "exception", "data")
CLOSED = (nodes.reference, nodes.title, addnodes.desc_signature, nodes.pending)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def link(app: Sphinx, doctree: nodes.document, page: str) -> None:
    found = targets(app)
    for node in list(doctree.findall(nodes.literal)):
        key = name(node.astext())
        if key in found and not any(isinstance(above, CLOSED) or theirs(above, page) for above in ancestors(node)):
            where, anchor = found[key]
            node.replace_self(make_refnode(app.builder, page, where, anchor, node.deepcopy()))


def targets(app: Sphinx) -> dict[str, tuple[str, str]]:
    """Page and anchor of each name, by its full name, and by its last part where this is unique."""
    objects = app.env.get_domain("py").objects
    full = {name: (entry.docname, entry.node_id) for name, entry in objects.items() if entry.objtype in KINDS}
    ends = Counter(name.rpartition(".")[2] for name in full)
    short = {name.rpartition(".")[2]: place for name, place in full.items() if ends[name.rpartition(".")[2]] == 1}
    return full | short


def name(text: str) -> str:
    """The name in a piece of code; a lower-case word alone may be an argument, so it is none."""
    start, call, _ = text.partition("(")
    if " -> " in text:  # what an argument has to be
        return ""
    return start if call or "_" in start or "." in start or start != start.lower() else ""


def theirs(node: nodes.Node, page: str) -> bool:
    """Whether a node is the first column of a table that compares another library with ours."""
    return page.startswith("how_to/") and isinstance(node, nodes.entry) and node.parent.index(node) == 0


def ancestors(node: nodes.Node) -> list[nodes.Node]:
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found
