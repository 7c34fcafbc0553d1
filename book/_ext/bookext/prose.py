"""Finds numbers typed into prose, where a result would go stale unnoticed.

A number in prose is either glued from a claim, or declared in the front matter as a setting:
`bnnbook: settings: {"4,898": rows of the white wines}`. Whatever the prose shows as code, refers to
or cites is not prose.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace

import yaml
from IPython.core.inputtransformer2 import TransformerManager
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

from .pages import ROOT, Page

Found = Iterator[tuple[int, str]]  # line in the file, number as typed

# A word takes its digits along (float32, x1), so only the second group is a number.
NUMBER = re.compile(r"[^\W\d]\w*|((?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)")
GLUE = re.compile(r"\{glue:[a-z]*\}\s*`(?:[^`]*::)?(\w+)(?::[^`]*)?`")
NOT_PROSE = {"bibliography", "code", "code-block", "literalinclude", "raw", "tableofcontents"}
# A path, a label or a layout
NO_TITLE = {"figure", "glue:figure", "grid", "image", "solution", "solution-start"}
# In mathematics these are structure, not results.
FREE_IN_MATH = {"0", "1", "2"}


def problems(page: Page) -> list[str]:
    """List the page's numbers that are not declared, and its declarations that nothing uses."""
    settings = {str(value) for value in page.options["settings"]}
    found = list(numbers(page.text))
    typed = [
        f"{page.name}:{line}: {number} is typed; claim it and quote it with {{glue:text}}, "
        "or declare it under bnnbook: settings"
        for line, number in found
        if number not in settings
    ]
    unused = settings - {number for _, number in found}
    return typed + [f"{page.name}: setting {value} is declared but not used" for value in unused]


def glued(text: str) -> set[str]:
    """Collect the names of the claims that a page's prose quotes."""
    return set(GLUE.findall(text))


def numbers(text: str, first_line: int = 1) -> Found:
    """Yield every number that a reader would take for the author's, with its line."""
    for token in parser().parse(text):
        line = first_line + (token.map[0] if token.map else 0)
        if token.type == "inline":
            yield from in_inline(token.children, line)
        elif token.type in ("math_block", "math_block_label", "amsmath"):
            yield from in_math(token.content, line)
        elif token.type == "html_block":
            yield from in_html(token.content, line)
        elif token.type in ("fence", "colon_fence") and token.info.startswith("{"):
            yield from in_directive(token, line)


def parser():
    """Make a Markdown parser that knows the same syntax as the build."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    extensions = set(config["parse"]["myst_enable_extensions"])
    return create_md_parser(replace(MdParserConfig(), enable_extensions=extensions), RendererHTML)


def in_text(text: str, line: int) -> Found:
    """Search plain text; an address is a reference and no number."""
    for match in NUMBER.finditer(re.sub(r"https?://\S+", "", text)):
        if match[1]:
            yield line, match[1]


def in_inline(tokens: list[Token], line: int) -> Found:
    """Search the parts of a paragraph, a heading or a table's cell."""
    address = False  # between the two ends of a link whose text is its address
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            line += 1
        elif token.type in ("link_open", "link_close"):
            address = token.type == "link_open" and token.info == "auto"
        elif token.type == "text" and not address:
            yield from in_text(token.content, line)
        elif token.type.startswith("math_inline") or token.meta.get("name") == "math":
            yield from in_math(token.content, line)
        elif token.type == "image":
            yield from in_inline(token.children, line)
        elif token.type == "html_inline":
            yield from in_html(token.content, line)


def in_math(text: str, line: int) -> Found:
    """Search mathematics, leaving out indices, exponents and commands."""
    plain = re.sub(r"\\[A-Za-z]+", " ", without_scripts(text))
    for offset, part in enumerate(plain.split("\n")):
        for found in in_text(part, line + offset):
            if found[1] not in FREE_IN_MATH:
                yield found


def without_scripts(text: str) -> str:
    """Remove what follows _ and ^, with the braces balanced."""
    kept = ""
    while match := re.search(r"[_^]\s*", text):
        kept, text = kept + text[: match.start()], text[match.end() :]
        depth = length = 0
        for character in text:
            length += 1
            depth += (character == "{") - (character == "}")
            if depth == 0:
                break
        text = text[length:]
    return kept + text


def in_html(text: str, line: int) -> Found:
    """Search the text and the alternative texts of a piece of HTML."""
    for alt in re.findall(r'alt="([^"]*)"', text):
        yield from in_text(alt, line)
    yield from in_text(re.sub(r"<!--.*?-->|<[^>]*>", " ", text, flags=re.DOTALL), line)


def in_directive(fence: Token, line: int) -> Found:
    """Search a directive's title, alternative text, caption and body."""
    name, argument = re.match(r"\{([^}]*)\}\s*(.*)", fence.info).groups()
    if name in NOT_PROSE:
        return
    options, body, skipped = split_options(fence.content)
    yield from in_options(options, line)
    if name == "math":
        yield from in_math(body, line + 1 + skipped)
    elif name == "code-cell":
        yield from in_code(body, line + 1 + skipped)
    else:
        if name not in NO_TITLE:
            yield from numbers(argument, line)
        yield from numbers(body, line + 1 + skipped)


def split_options(content: str) -> tuple[dict, str, int]:
    """Split a directive into its options, its body, and the number of lines before the body."""
    if block := re.match(r"---\n(.*?)\n---\n?", content, re.DOTALL):
        options = yaml.safe_load(block[1]) or {}
    else:
        block = re.match(r"(?::[\w-]+:.*\n?)*", content)
        options = {}
        for key, value in re.findall(r"^:([\w-]+):[ ]*(.*)$", block[0], re.MULTILINE):
            # Only a code cell writes structure here, `:mystnb: {...}`; anything else is text.
            options[key] = yaml.safe_load(value) if value.startswith("{") else value
    return options, content[block.end() :], block[0].count("\n")


def in_options(options: dict, line: int) -> Found:
    """Search captions and alternative texts, at any depth (code cells nest them)."""
    for key, value in options.items():
        if isinstance(value, dict):
            yield from in_options(value, line)
        elif key == "caption":
            yield from ((line, number) for _, number in numbers(str(value)))
        elif key == "alt":
            yield from in_text(str(value), line)


def in_code(source: str, line: int) -> Found:
    """Search the alternative texts that a code cell passes as `alt=`; its other numbers run."""
    for node in ast.walk(ast.parse(TransformerManager().transform_cell(source))):
        if isinstance(node, ast.keyword) and node.arg == "alt":
            for text in literals(node.value):
                yield from in_text(text.value, line + text.lineno - 1)


def literals(node: ast.AST) -> Iterator[ast.Constant]:
    """Yield the typed strings of an expression, but not what an f-string computes or formats."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node
    elif not isinstance(node, ast.FormattedValue):
        for child in ast.iter_child_nodes(node):
            yield from literals(child)
