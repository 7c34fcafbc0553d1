"""Where else the book was executed, and which claims came out otherwise: what `make survey` keeps.

In the file are, by name, the environments; the first one is what all others are compared with.  A
claim is a list: the text that prose quotes, the value, and the ends of its range.
"""

from __future__ import annotations

import json

from .pages import ROOT

STORED = ROOT / "benchmarks" / "environments.json"


def out_of_range(claims: dict[str, list]) -> list[str]:
    """Name the claims that do not hold; what is no number does not."""
    return [
        name
        for name, (_, value, low, high) in claims.items()
        if value is None or not low <= value <= high
    ]


def moved(claims: dict[str, list], base: dict[str, list]) -> dict[str, list]:
    """Return the claims whose text is not that of the base, or that the base does not make."""
    return {name: claim for name, claim in claims.items() if claim[0] != base.get(name, [None])[0]}


def largest_move(claims: dict[str, list], base: dict[str, list]) -> tuple[float, str]:
    """Find the claim that moved by most, as a share of its range: the share, and its name."""
    shares = [
        (abs(value - base[name][1]) / (high - low), name)
        for name, (_, value, low, high) in claims.items()
        if name in base and None not in (value, base[name][1])
    ]
    return max(shares, default=(0.0, ""))


def report(name: str, found: dict, base: dict[str, list]) -> list[str]:
    """Say in lines what a survey found."""
    others = moved(found["claims"], base)
    share, largest = largest_move(others, base)
    lines = [
        f"{name}: {len(found['claims'])} claims, {len(others)} read otherwise than those of the "
        f"first environment; {largest or 'none'} moved most, by {share:.0%} of its range"
    ]
    lines += [f"  {chapter['failure']}" for chapter in found["chapters"].values()]
    lines += [
        f"  {claim}: {base.get(claim, ['missing'])[0]} -> {text} (range {low} to {high})"
        for claim, (text, _, low, high) in others.items()
    ]
    lines += [f"  out of its range: {claim}" for claim in out_of_range(found["claims"])]
    return [line for line in lines if line.strip()]


def read_stored() -> dict[str, dict]:
    """Return all that is kept, by name; the first one is the base."""
    return json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
