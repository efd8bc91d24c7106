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
        facts = f"Data: {found.data}{where}. Time: about {found.time}, on two cores."
        return [nodes.paragraph("", found.shows), code, nodes.paragraph("", facts)]


def command_lines(found: Example) -> list[str]:
    """The commands, their comments in a column."""
    name = f"pyrovae {found.name.replace('_', '-')}"
    commands = [(f"{name} {flags}".strip(), comment) for flags, comment in found.commands]
    width = max(len(command) for command, _ in commands if len(command) < 60)
    return [f"{command:<{width}}  # {comment}" if comment else command for command, comment in commands]
