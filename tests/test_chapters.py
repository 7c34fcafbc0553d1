"""Every chapter runs, within its limits, keeps its claims and leaves no noise on its page."""

import os

import pytest

from bookext.execution import ChapterError, exceeded, open_cache, run, summary
from bookext.pages import Page, chapters


@pytest.mark.slow
@pytest.mark.parametrize("page", chapters(), ids=lambda page: page.path.stem)
def test_chapter(page: Page, record_property) -> None:
    failure = ""
    try:
        result = run(page, open_cache())
    except ChapterError as error:
        failure = str(error)
    # Outside of `except`, or pytest would print it twice.
    if failure:
        pytest.fail(failure, pytrace=False)
    record = result.record
    record_property("chapter", f"cached ({summary(record)})" if result.cached else summary(record))

    # Where everything is measured; on a reader's machine it is a note on the page of status.
    if os.environ.get("CI"):
        assert exceeded(page, record) == []
    # A claim's bounds in the record may be older than the chapter's.
    for claim in record["claims"]:
        assert claim["low"] <= claim["value"] <= claim["high"]
