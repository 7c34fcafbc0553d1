"""Every chapter runs, within its limits, keeps its claims and leaves no noise on its page."""

import pytest

from bookext.execution import ChapterError, open_cache, run
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
    seconds, memory = record["seconds"], record["peak_memory_mb"]
    summary = f"{seconds} s, {memory} MB, {len(record['claims'])} claims kept"
    record_property("chapter", f"cached ({summary})" if result.cached else summary)

    # The limits or a claim's bounds in the record may be older than the chapter's front matter.
    assert seconds <= page.options["time_limit_s"]
    assert memory <= page.options["memory_limit_mb"]
    for claim in record["claims"]:
        assert claim["low"] <= claim["value"] <= claim["high"]
