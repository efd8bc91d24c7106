"""Docstrings write densities in plain text, `p(x, z) = prod_d Normal(z_d; 0, 1)`; the reference shows them as formulas.

A formula is the start of a docstring, up to the first word that is no name of a formula.
"""

import re
from typing import Any

from sphinx.application import Sphinx

GREEK = {"alpha", "beta", "gamma", "delta"}
COMMANDS = {"prod", "sum", "log", "exp", "max", "det", "in"} | GREEK
WORDS = {
    *("ELBO", "KL", "MMD", "Normal", "NegativeBinomial", "StudentT", "DiscretizedLogistic"),
    *("decoder", "encoder", "guide", "posterior", "combiner", "corruption", "base", "first", "step", "rnn"),
    *("act", "argmax", "diag", "du", "dz", "loc", "mean", "rate", "scale", "sigmoid", "softmax", "tanh", "temperature"),
    *("amortisation", "approximation", "correlation", "dimensions", "information", "loss", "shortcut", "weight"),
}
BAR = re.compile(r"\|(?=(?:[^`]*`[^`]*`)*[^`]*$)")
STOPS = {"an", "by", "is", "of", "or", "so"}
TOKEN = re.compile(
    r"(?P<name>kl_weight|guide\.given)|(?P<word>[A-Za-z]+[0-9]*L?(~(?![ ]))?'?)"
    r"|(?P<script>[_^](\{[^}]*\}|\((?:[^()]|\([^()]*\))*\)|<?[A-Za-z0-9]+(?:_[A-Za-z])?))"
    r"|(?P<other>\|\||<=|>=|\.\.\.|\s+|\d+|[^`])"
)
OTHER = {
    "||": r"\parallel ", "<=": r"\le ", ">=": r"\ge ", "...": r"\ldots ", "~": r"\sim ", "*": r"\cdot ",
    "{": r"\{", "}": r"\}", "#": r"\#", ":": r"{:}\;",
}  # fmt: skip


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", show_formula, priority=400)
    return {"parallel_read_safe": True}


def show_formula(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Put the formula at the start of a docstring into a block of its own, and keep each bar elsewhere as a bar."""
    end = lines.index("") if "" in lines else len(lines)
    text = " ".join(lines[:end])
    formula = leading_formula(text)
    lines[:] = [BAR.sub(r"\\|", line) for line in lines]
    if what in ("attribute", "data", "property"):
        lines[:end] = [
            line.replace(": ", " – ") for line in lines[:end]
        ]  # napoleon takes the words before ":" for a type
    if formula:
        rest = BAR.sub(r"\\|", text[len(formula) :].lstrip(" .,:;"))
        lines[:end] = [".. math::", "", f"   {tex(formula)}", "", rest]


def leading_formula(text: str) -> str:
    """The formula that a text begins with; empty if it begins with none."""
    end = 0
    while match := TOKEN.match(text, end):
        if prose(match["word"] or ""):
            break
        end = match.end()
    formula = re.sub(r"([.,;:] (K|f|A|The)| in| an?)?[\s.,:;]*$", "", text[:end]).rstrip(" .,:;")
    balanced = all(formula.count(left) == formula.count(right) for left, right in ("()", "[]", "{}"))
    relation = re.search(r" = |\) / |\) [pq]\(|^prod_|^exp\(|^E_q|^-E_q|^1 / ", formula)
    return formula if balanced and relation and re.search(r"[(_]", formula) else ""


def prose(word: str) -> bool:
    """Whether a word belongs to a sentence and not to a formula."""
    return word in STOPS or (len(word.rstrip("~'")) > 2 and word not in WORDS | COMMANDS)


def tex(text: str) -> str:
    """A formula in plain text as TeX."""
    return "".join(part(match) for match in TOKEN.finditer(text))


def part(match: re.Match[str]) -> str:
    if match["name"]:
        return r"\mathrm{" + match["name"].replace("_", r"\_") + "}"
    if match["word"]:
        return word(match["word"])
    if match["script"]:
        mark, inner = match["script"][0], match["script"][1:]
        inner = inner[1:-1] if inner[0] in "({" else inner
        return f"{mark}{{{inner if inner.isalpha() else tex(inner)}}}"
    return symbol(match)


def symbol(match: re.Match[str]) -> str:
    """A bar between spaces is "given", any other one an absolute value; a space between factors stays visible."""
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    if match["other"] == "|":
        return r"\mid " if before == after == " " else "|"
    if match["other"].isspace():
        return r"\," if re.match(r"[\w)\]'][\w(\[]", before + after) else " "
    return OTHER.get(match["other"], match["other"])


def word(text: str) -> str:
    if text in COMMANDS:
        return rf"\{text} "
    if text.endswith("~"):
        return rf"\tilde{{{text[:-1]}}}"
    if numbered := re.fullmatch(r"([a-zW])(\d+|L)", text):
        return f"{numbered[1]}_{{{numbered[2]}}}"
    return text if len(text.rstrip("'")) == 1 or text in ("dz", "du") else rf"\mathrm{{{text}}}"
