"""Numbers that the prose may quote, each with the range in which it must fall.

A chapter never types a result.  It claims it::

    claim("wine_rmse", scores.rmse(predictive, y), within=(0.70, 0.74), fmt=".3f")

and the prose quotes it with ``{glue:text}`wine_rmse` ``.  If a change of code, data or packages
moves the number out of its range, the chapter stops, and with it the tests and the build.

A reader who runs a chapter may change whatever they like: there, a number that leaves its range is
shown as such, and the next cells run.  The environment variable ``BNNBOOK_CLAIMS=stop``, which
tests and build set, makes the difference.
"""

from __future__ import annotations

import html
import math
import os

from IPython.display import display

CLAIM_MIME = "application/vnd.bnnbook.claim+json"
STOP = ("BNNBOOK_CLAIMS", "stop")


class ClaimError(Exception):
    """A claimed number is not in the range that the text around it relies on."""


def claim(name: str, value: float, *, within: tuple[float, float], fmt: str = ".3f") -> None:
    """Check a number, show it with its range, and make it quotable in prose.

    Parameters
    ----------
    name : str
        Unique in the book; letters, digits and underscores, prefixed with the chapter's topic.
    value : float
        The computed number.
    within : (float, float)
        Lowest and highest value for which the prose stays true.  As narrow as the run-to-run
        spread allows, and excluding the wrong answers.
    fmt : str
        Format specification of the quoted text.

    Raises
    ------
    ValueError
        If the name or the range makes no sense.
    ClaimError
        If the value is not finite or outside its range, and ``BNNBOOK_CLAIMS=stop`` is set;
        otherwise the output says so.
    """
    low, high = within
    if not name.isidentifier():
        raise ValueError(f"a claim's name must be an identifier such as wine_rmse, got {name!r}")
    if not low < high:
        raise ValueError(f"claim {name!r}: within={within!r} is no range; give (low, high)")
    value = float(value)
    text, low_text, high_text = (format(v, fmt) for v in (value, low, high))
    broken = not (math.isfinite(value) and low <= value <= high)
    if broken and os.environ.get(STOP[0]) == STOP[1]:
        raise ClaimError(
            f"claim {name!r}: {value!r} is not within {low!r} to {high!r}; either the computation "
            "changed, or the range is too narrow: find out which before you touch either"
        )
    shown = (
        f"<code>{html.escape(name)}</code> = <strong>{text}</strong> "
        f"(claimed: {low_text} to {high_text})"
    )
    if broken:
        shown += "<br>Out of its range here: the sentence that quotes this number no longer holds."
    display(
        {
            # myst-nb takes the prose's text from text/plain, and reads it as a literal: unquoted,
            # 0.40 would become 0.4.  A notebook shows the HTML.
            "text/plain": repr(text),
            "text/html": f'<div class="{"claim broken" if broken else "claim"}">{shown}</div>',
            CLAIM_MIME: {
                "name": name,
                "value": value if math.isfinite(value) else None,  # JSON has no other numbers
                "text": text,
                "low": low,
                "high": high,
            },
        },
        raw=True,
        # The key by which myst-nb finds glued outputs.
        metadata={"scrapbook": {"name": name, "mime_prefix": ""}},
    )
