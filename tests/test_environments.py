"""What the surveys of other environments say, and that the page of status shows it."""

import subprocess
import sys

import pytest
from nbformat.v4 import new_notebook

from bookext import environments, status, survey
from bookext.execution import Run
from bookext.pages import ROOT, chapters

BASE = {"a": ["0.50", 0.5, 0.0, 1.0], "b": ["3", 3.0, 0.0, 10.0], "c": ["7.0", 7.0, 6.0, 8.0]}
HERE = {"a": ["0.52", 0.52], "b": ["3", 3.1], "c": ["nan", None]}


def found(claims: dict, failure: str = "") -> dict:
    chapter = {"seconds": 90.0, "peak_memory_mb": 512, "added_memory_mb": 100, "failure": failure}
    where = {"python": "3.99", "torch": "2", "date": "2030-01-01", "installed_mb": {"x": 7, "y": 5}}
    return {"environment": where, "chapters": {"one": chapter}, "claims": claims}


def test_a_claim_has_moved_when_it_reads_otherwise() -> None:
    assert environments.moved(HERE, BASE) == {"a": ("0.50", "0.52"), "c": ("7.0", "nan")}
    assert environments.moved(BASE, BASE) == {}
    less = {name: HERE[name] for name in "ab"} | {"new": ["1", 1.0]}
    assert environments.moved(less, BASE) == {
        "a": ("0.50", "0.52"),
        "c": ("7.0", "missing"),
        "new": ("missing", "1"),
    }


def test_moves_are_compared_in_units_of_the_range() -> None:
    wide = {"a": ["0.4", 0.4], "b": ["4", 2.5]}
    assert environments.largest_move(wide, BASE) == (pytest.approx(0.1), "a")
    assert environments.largest_move({}, BASE) == (0.0, "")


def test_what_is_no_number_is_out_of_range() -> None:
    assert environments.out_of_range(HERE, BASE) == ["c"]
    ends = {"a": ["0", 0.0], "b": ["10", 10.0], "c": ["8", 8.1]}
    assert environments.out_of_range(ends, BASE) == ["c"]
    assert environments.out_of_range({"a": ["-0", -0.01]}, BASE) == ["a"]


def test_a_report_names_what_moved_and_what_failed() -> None:
    lines = environments.report("elsewhere", found(HERE, "one.md, code cell 3: it broke"), BASE)
    assert lines == [
        "elsewhere: 3 claims, 2 read otherwise than in the first environment; a moved most, "
        "by 2% of its range",
        "  one.md, code cell 3: it broke",
        "  a: 0.50 -> 0.52",
        "  c: 7.0 -> nan",
        "  out of its range: c",
    ]


def test_what_is_kept_can_be_read_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(environments, "STORED", tmp_path / "environments.json")
    assert environments.read_stored() == {}
    stored = {"here": found(BASE), '"elsewhere"': found(HERE, "a line\nand another")}
    environments.store(stored)
    assert environments.read_stored() == stored
    assert '\n  "b": ["3", 3.0, 0.0, 10.0],\n' in environments.STORED.read_text()


def test_the_page_of_status_has_a_row_for_each() -> None:
    stored = {"here": found(BASE), "elsewhere": found(HERE)}
    *_, here, elsewhere = status.environment_table(stored)
    assert here == "| here | 0 | 0 of 3 | 0 | 1.5 | 512 |"
    assert elsewhere == "| elsewhere | 1 | 2 of 3 | 2 | 1.5 | 512 |"
    where = stored["elsewhere"]["environment"]
    stored["elsewhere"]["environment"] = where | {"torch": "2+cpu"}
    stored["with other vectors"] = found(BASE)  # the build of `here`
    assert status.size_table(stored) == [
        "- here (Python 3.99, PyTorch 2, 2030-01-01): 12 MB, of which x 7, y 5.",
        "- elsewhere (Python 3.99, PyTorch 2+cpu, 2030-01-01): 12 MB, of which x 7, y 5.",
    ]


def test_a_survey_needs_a_name() -> None:
    command = [sys.executable, "-m", "bookext.survey", " "]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "make survey NAME=" in done.stderr


@pytest.mark.slow
def test_a_survey_notes_claims_and_the_first_failure(tmp_path, monkeypatch, capsys) -> None:
    from test_execution import CLAIM, chapter

    cells = (CLAIM.format(low=0.6), "1 / 0", "undefined")
    page = chapter(tmp_path, *cells)
    result = survey.survey([page])
    assert result["claims"] == {"trial": ["0.500", 0.5, 0.6, 1.0]}
    assert "ZeroDivisionError" in result["chapters"]["trial"]["failure"]
    assert result["environment"]["python"].startswith("3.")
    assert result["environment"]["installed_mb"]["torch"] > 100


def test_what_is_executed_already_is_taken_unless_switches_are_set(monkeypatch) -> None:
    class Executed(Exception):
        pass

    def execute(*_, **__) -> None:
        raise Executed

    record = {"seconds": 6.0, "slowness": 2.0, "peak_memory_mb": 9, "added_memory_mb": 1}
    record["claims"] = [{"name": "a", "text": "0.5", "value": 0.5, "low": 0.0, "high": 1.0}]
    run = Run(new_notebook(), record, cached=True)
    monkeypatch.setattr(survey, "cached_run", lambda page, cache: run)
    monkeypatch.setattr(survey, "execute", execute)
    for switch in survey.SWITCHES:
        monkeypatch.delenv(switch, raising=False)
    page = chapters()[0]
    result = survey.survey([page])
    assert result["claims"] == {"a": ["0.5", 0.5, 0.0, 1.0]}
    assert result["chapters"][page.path.stem]["seconds"] == 3.0
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    with pytest.raises(Executed):
        survey.survey([page])


def test_the_book_holds_wherever_it_was_tried() -> None:
    stored = environments.read_stored()
    base = next(iter(stored.values()))["claims"]
    for name, one in stored.items():
        assert environments.out_of_range(one["claims"], base) == [], name
        assert [c["failure"] for c in one["chapters"].values() if c["failure"]] == [], name
    pythons = {one["environment"]["python"].rpartition(".")[0] for one in stored.values()}
    assert sorted(pythons) == ["3.11", "3.12", "3.13"]
    assert any(one["environment"]["switches"] for one in stored.values())
