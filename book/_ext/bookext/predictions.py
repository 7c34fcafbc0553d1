"""Boxes that ask for a prediction, and listen: their answers come from the claims.

In a chapter, a comment within the box says how it may be answered; notebooks do not show it, and
without JavaScript the box stays as it is.

    <!-- offer wine_rmse: less than a grade = 0 .. 1 | more = 1 .. 3 -->
    <!-- number iris_cold_factor: times -->
    <!-- order: LDA = iris_lda_nll | the network = iris_best_nll -->

An offer holds if the claim's whole range lies in one of the options: as long as the claim holds,
the answer does.  An order begins with the smallest claim; claims whose ranges overlap may change
places in the next run, so either order of them is right.  Words in brackets before the colon, as in
`offer wine_rmse (the first):`, say which part of the question is meant.
"""

import html
import json
import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from .execution import cached_record, open_cache
from .markdown import ONLY_PAGES
from .pages import Page

COMMENT = re.compile(
    r"<!--\s*(offer|number|order)(?:\s+(\w+))?(?:\s+\(([^)]*)\))?:\s*(.*?)\s*-->\s*", re.DOTALL
)
log = logging.getLogger(__name__)


class Unanswerable(Exception):
    """The claims do not answer the question."""


def setup(app: Sphinx) -> None:
    """Connect to Sphinx."""
    app.connect("doctree-read", listen)


def listen(app: Sphinx, doctree: nodes.document) -> None:
    """Turn the comments of a chapter's boxes into questions that book/live/predict.js asks."""
    found = [(node, COMMENT.fullmatch(node.astext())) for node in doctree.findall(nodes.raw)]
    asked = [(node, comment) for node, comment in found if comment]
    if not asked:
        return
    record = cached_record(Page(app.srcdir / f"{app.env.docname}.md"), open_cache())
    claims = {claim["name"]: claim for claim in record["claims"]} if record else {}
    for node, comment in asked:
        try:
            question = json.dumps(ask(*comment.groups(), claims), ensure_ascii=False)
        except Unanswerable as error:
            log.warning("%s: %s", " ".join(comment[0].split()), error, location=node)
            continue
        frame = (
            f'<div class="live-predict" data-live="predict" data-asked="{html.escape(question)}">'
        )
        box = nodes.raw("", f"{frame}</div>", format="html", classes=[ONLY_PAGES])
        node.replace_self(box)


def ask(kind: str, name: str | None, label: str | None, rest: str, claims: dict) -> dict:
    """Return a question with its answer."""
    parts = [re.split(r"\s*=\s*", part.strip()) for part in " ".join(rest.split()).split("|")]
    if kind == "order":
        ranks = ranked({option: find(claim, claims) for option, claim in parts})
        if len(ranks) == 1:
            raise Unanswerable(f"the ranges of all claims overlap: {rest}")
        options = [option for option, _ in parts]
        name = "+".join(sorted(claim for _, claim in parts))
        shown = " – ".join(" or ".join(rank) for rank in ranks)
        answer = {"options": options, "ranks": ranks, "shown": shown}
    else:
        claim = find(name, claims)
        answer = {key: claim[key] for key in ("value", "low", "high")}
        answer |= {"unit": rest, "shown": f"{claim['text']} {rest}".strip()}
        if kind == "offer":
            options = {option: [float(end) for end in ends.split("..")] for option, ends in parts}
            right = [
                option
                for option, (low, high) in options.items()
                if low <= claim["low"] and claim["high"] <= high
            ]
            if len(right) != 1:
                raise Unanswerable(
                    f"the range of {name}, {claim['low']} to {claim['high']}, lies in "
                    f"{right or 'no option'}"
                )
            answer = {"options": list(options), "right": right[0]}
            answer["shown"] = f"{right[0]} ({claim['text']})"
    return {"kind": kind, "name": name, "label": label or "", **answer}


def ranked(options: dict[str, dict]) -> list[list[str]]:
    """Put options in the order of their claims; those that may change places share a rank."""
    ranks: list[list[str]] = []
    top = float("-inf")  # of the ranges so far
    for option, claim in sorted(options.items(), key=lambda item: item[1]["value"]):
        if not ranks or claim["low"] >= top:
            ranks.append([])
        ranks[-1].append(option)
        top = max(top, claim["high"])
    return ranks


def find(name: str, claims: dict) -> dict:
    """Find a claim of the chapter."""
    if name not in claims:
        raise Unanswerable(f"the chapter makes no claim {name!r}")
    return claims[name]
