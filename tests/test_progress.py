"""Progress bars leave nothing behind, in notebooks either."""

import pytest

from bnnbook.progress import progress
from bookext.execution import settle


def test_bars_within_bars_stay_in_one_line(capsys: pytest.CaptureFixture) -> None:
    for _ in progress(range(3), "sizes"):
        assert [i for i in progress(range(3), "training")] == [0, 1, 2]
    written = capsys.readouterr().err
    assert "sizes:" in written and "training:" in written
    # JupyterLab and Colab follow a carriage return, but nothing that moves to another line.
    assert "\n" not in written and "\x1b" not in written
    assert settle(written).strip() == ""
