"""The directive `example`: what an example shows, its commands, data and time, from its docstring."""

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from pyrovae.gallery import Example, examples


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("example", ExampleDirective)
    return {"parallel_read_safe": True}


class ExampleDirective(Directive):
    """`{example} vae`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        (found,) = (one for one in examples() if one.name == self.arguments[0])
        where = ", offline" if found.offline else ""
        lines = "\n".join(command_lines(found))
        code = nodes.literal_block(lines, lines, language="sh")
        facts = f"Data: {found.data}{where}." + (f" Time: about {found.time}." if found.time else "")
        return [nodes.paragraph("", found.shows), code, nodes.paragraph("", facts)]


def command_lines(found: Example) -> list[str]:
    """The commands, each below its comment: beside a long command a comment would be out of sight."""
    name = f"pyrovae {found.name.replace('_', '-')}"
    lines = []
    for flags, comment in found.commands:
        lines += [f"# {comment}"] if comment else []
        lines.append(f"{name} {flags}".strip())
    return lines
