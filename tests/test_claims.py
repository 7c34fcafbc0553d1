"""A claim passes, shows and records its number, or stops the chapter."""

import json

import numpy as np
import pytest

from bnnbook import claims


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(claims, "display", lambda data, **more: outputs.append((data, more)))
    return outputs


def test_claim_is_shown_glued_and_recorded(shown):
    claims.claim("toy_rmse", np.float64(0.73951), within=(0.7, 0.74), fmt=".3f")
    [(data, more)] = shown
    assert data["text/plain"] == "'0.740'"  # quoted, so that the last zero survives
    assert "toy_rmse" in data["text/html"] and "0.700 to 0.740" in data["text/html"]
    assert "no longer holds" not in data["text/html"]
    assert data[claims.CLAIM_MIME] == {
        "name": "toy_rmse", "value": 0.73951, "text": "0.740", "low": 0.7, "high": 0.74,
    }  # fmt: skip
    assert more["metadata"]["scrapbook"]["name"] == "toy_rmse"


@pytest.mark.parametrize("value", [0.69, 0.75, float("nan"), float("inf")])
def test_claim_out_of_range_says_which_and_why(shown, monkeypatch, value):
    monkeypatch.setenv("BNNBOOK_CLAIMS", "stop")
    with pytest.raises(
        claims.ClaimError, match=rf"'toy_rmse': {value!r} is not within 0.7 to 0.74"
    ):
        claims.claim("toy_rmse", value, within=(0.7, 0.74))
    assert shown == []


@pytest.mark.parametrize(("value", "recorded"), [(0.69, 0.69), (float("nan"), None)])
def test_a_reader_is_told_and_goes_on(shown, monkeypatch, value, recorded):
    monkeypatch.delenv("BNNBOOK_CLAIMS", raising=False)
    claims.claim("toy_rmse", value, within=(0.7, 0.74))
    [(data, _)] = shown
    assert "the sentence that quotes this number no longer holds" in data["text/html"]
    assert 'class="claim broken"' in data["text/html"]
    assert json.loads(json.dumps(data[claims.CLAIM_MIME]))["value"] == recorded


def test_senseless_claims_are_refused(shown):
    with pytest.raises(ValueError, match="identifier such as wine_rmse, got 'toy rmse'"):
        claims.claim("toy rmse", 1, within=(0, 2))
    with pytest.raises(ValueError, match="is no range"):
        claims.claim("toy_rmse", 1, within=(2, 0))
