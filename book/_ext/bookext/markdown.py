"""Writes parts of a page's document tree as the plain Markdown that every notebook viewer shows.

In the tree, roles, directives and labels have become what they stand for.  What is used of Markdown
is CommonMark, tables, and formulas between dollar signs; what is used of HTML is `<details>`.
"""

import html
import re
from collections.abc import Iterable
from textwrap import indent
from urllib.parse import urljoin

from docutils import nodes
from sphinx.locale import admonitionlabels
from sphinx.util import logging

log = logging.getLogger(__name__)

ONLY_PAGES = "only-pages"  # the class of what notebooks leave out

# What CommonMark would take for markup.  Brackets are just brackets unless a target follows.
MARKUP = re.compile(r"[\\`*$~]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])")
HTML = re.compile(r"<(?=[A-Za-z/!?])|&(?=#?\w+;)")
LINE_START = re.compile(r"^([-+#>=]|\d+(?=[.)]\s))", re.MULTILINE)


class Markdown:
    """Writes nodes of one page.

    Parameters
    ----------
    address : str
        Where the page is published: links are made absolute with it.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def blocks(self, parent: nodes.Element | list[nodes.Node], between: str = "\n\n") -> str:
        """Write what a node contains, one block after the other."""
        return between.join(filter(None, map(self.block, parent)))

    def block(self, node: nodes.Node) -> str:
        """Write a paragraph, a list, a table and the like."""
        match node:
            case nodes.paragraph():
                return LINE_START.sub(escaped_line_start, self.inline(node))
            case nodes.bullet_list():
                return self.items(node, ("-" for _ in node))
            case nodes.enumerated_list():
                first = node.get("start", 1)
                return self.items(node, (f"{first + i}." for i in range(len(node))))
            case nodes.math_block():
                # One line: JupyterLab looks for formulas before it takes away what marks the lines
                # of a quotation.
                return f"$$ {' '.join(node.astext().split())} $$"
            case nodes.literal_block():
                return f"```{node.get('language', '')}\n{node.astext()}\n```"
            case nodes.block_quote():
                return quoted(self.blocks(node))
            case nodes.Admonition():
                return self.admonition(node)
            case nodes.table():
                return self.table(node)
            case nodes.section():  # within an exercise
                return self.blocks(node)
            case nodes.Invisible():  # what labels have become, among others
                return ""
            case nodes.raw() if node.astext().lstrip().startswith("<script"):
                return ""
            case nodes.raw() if ONLY_PAGES in node["classes"]:
                return ""
        # A warning fails the build, so that nothing of a page is missing in its notebook.
        log.warning("%s: notebooks cannot show this yet", node.tagname, location=node)
        return ""

    def items(self, node: nodes.Element, markers: Iterable[str]) -> str:
        """Write the items of a list, with lines between them only if one has several paragraphs."""
        kinds = (nodes.bullet_list, nodes.enumerated_list)
        tight = all(sum(not isinstance(part, kinds) for part in item) == 1 for item in node)
        between = "\n" if tight else "\n\n"
        written = []
        for marker, item in zip(markers, node, strict=True):
            body = indent(self.blocks(item, between), " " * (len(marker) + 1))
            written.append(f"{marker} {body.lstrip()}")
        return between.join(written)

    def admonition(self, node: nodes.Element, number: str = "") -> str:
        """Write a box as a quotation below its title in bold, after its number if it has one."""
        if isinstance(node[0], nodes.title):
            head, *rest = node
            title = f"{number}{self.inline(head)}".strip()
        else:
            title, rest = admonitionlabels[node.tagname], list(node)
        return quoted(f"**{title}**\n\n{self.blocks(rest)}")

    def table(self, node: nodes.table) -> str:
        """Write a table whose first row is its head."""
        rows = list(node.findall(nodes.row))
        head, *body = [[self.cell(entry) for entry in row] for row in rows]
        lines = [head, [alignment(entry) for entry in rows[0]], *body]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def cell(self, entry: nodes.entry) -> str:
        """Write what a cell of a table contains, in one line."""
        return " ".join(self.blocks(entry, " ").split()).replace("|", "\\|")

    def inline(self, parent: nodes.Element) -> str:
        """Write the text that a node contains."""
        return "".join(self.run(node) for node in parent)

    def run(self, node: nodes.Node) -> str:
        """Write a part of a line."""
        match node:
            case nodes.Text():
                return escaped(node.astext())
            case nodes.math():
                return f"${' '.join(node.astext().split())}$"
            case nodes.literal():
                return code(node.astext())
            case nodes.emphasis():
                return f"*{self.inline(node)}*"
            case nodes.strong():
                return f"**{self.inline(node)}**"
            case nodes.reference():
                return f"[{self.inline(node)}]({self.target(node)})"
            case nodes.inline() if "pasted-text" in node["classes"]:  # the number of a claim
                return f"**{self.inline(node)}**"
            case nodes.inline():
                return self.inline(node)
            case nodes.Invisible():
                return ""
        log.warning("%s: notebooks cannot show this yet", node.tagname, location=node)
        return ""

    def target(self, node: nodes.reference) -> str:
        """Return the address that a link leads to."""
        return urljoin(self.address, node.get("refuri") or f"#{node['refid']}")


def escaped(text: str) -> str:
    """Return Markdown that shows the text as it is."""
    text = MARKUP.sub(lambda found: f"\\{found[0]}", text)
    return HTML.sub(lambda found: {"<": "&lt;", "&": "&amp;"}[found[0]], text)


def escaped_line_start(found: re.Match) -> str:
    """Keep a line that begins with a sign or a number from becoming a heading or an item."""
    return f"{found[1]}\\" if found[1].isdigit() else f"\\{found[1]}"


def code(text: str) -> str:
    """Write code within a line; what contains backticks needs longer ones around it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{text}{space}{fence}"


def quoted(text: str) -> str:
    """Mark every line as one of a quotation."""
    return indent(text, "> ", lambda line: True).replace("> \n", ">\n")


def alignment(entry: nodes.entry) -> str:
    """Write how a column is aligned, as its head says."""
    sides = {"text-left": ":--", "text-right": "--:", "text-center": ":-:"}
    return next((sides[name] for name in entry["classes"] if name in sides), "---")


def details(summary: str, body: str) -> str:
    """Fold a part away: the empty lines let viewers read what is between them as Markdown."""
    return f"<details>\n<summary>{html.escape(summary)}</summary>\n\n{body}\n\n</details>"
