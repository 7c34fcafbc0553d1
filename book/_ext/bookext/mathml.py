"""Formulas as MathML, made at build time: browsers draw it without a script.

Upstream, Sphinx leaves LaTeX in the page and lets MathJax, 1 MB from elsewhere, set it there.
"""

import html

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

# The annotation keeps the LaTeX source: what is copied from the page is LaTeX again.
convert = LatexToMathML(annotation=True, fancy_error=False, xml_namespace=True)
log = logging.getLogger(__name__)


def setup(app: Sphinx) -> None:
    """Register as a renderer; `html_math_renderer: mathml` chooses it."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))


def mathml(node: nodes.Element, display: bool) -> str:
    """Convert a formula; what cannot be converted is a warning, and so fails the build."""
    latex = node.astext()
    try:
        return convert.convert_with_local_state(latex, displaystyle=display)
    except LatexError as error:
        log.warning("formula %r: %s", latex, error, location=node)
        return f"<code>{html.escape(latex)}</code>"


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line; punctuation stays with it."""
    translator.body.append(f'<span class="math">{mathml(node, display=False)}</span>')
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula of its own, with its number as a link to itself."""
    number = ""
    if node["number"]:
        number = f'<span class="eqno">({node["number"]})</span>'
    ids = f' id="{node["ids"][0]}"' if node["ids"] else ""
    translator.body.append(f'<div class="math"{ids}>{number}{mathml(node, display=True)}</div>\n')
    raise nodes.SkipNode
