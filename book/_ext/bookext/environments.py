"""Where else the book was executed, and which claims came out otherwise: what `make survey` keeps.

In the file are, by name, the environments with their claims: the text that prose quotes, and the
value.  The first one is what all others are compared with; its claims have the ends of their
ranges, too.
"""

from __future__ import annotations

import json

from .pages import ROOT

STORED = ROOT / "benchmarks" / "environments.json"


def read_stored() -> dict[str, dict]:
    """Return all that is kept, by name; the first one is the base."""
    return json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}


def store(stored: dict[str, dict]) -> None:
    """Keep them all: a claim a line, so that a change of one is a change of one line."""
    parts = []
    for name, found in stored.items():
        rest = {key: value for key, value in found.items() if key != "claims"}
        claims = ",\n".join(
            f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in found["claims"].items()
        )
        head = json.dumps(rest, indent=1).removesuffix("\n}")
        parts.append(f'{json.dumps(name)}: {head},\n "claims": {{\n{claims}\n }}\n}}')
    STORED.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def out_of_range(claims: dict[str, list], base: dict[str, list]) -> list[str]:
    """Name the claims that are not in the base's ranges; what is no number is not."""
    found = []
    for name, (_, value, *_) in claims.items():
        if name in base:
            _, _, low, high = base[name]
            if value is None or not low <= value <= high:
                found.append(name)
    return found


def moved(claims: dict[str, list], base: dict[str, list]) -> dict[str, tuple[str, str]]:
    """Return what reads otherwise than in the base, or is made in one of them only: was, and is."""
    return {
        name: (base.get(name, ["missing"])[0], claims.get(name, ["missing"])[0])
        for name in {**base, **claims}
        if base.get(name, [None])[0] != claims.get(name, [None])[0]
    }


def largest_move(claims: dict[str, list], base: dict[str, list]) -> tuple[float, str]:
    """Find the claim that moved by most, as a share of its range: the share, and its name."""
    shares = [
        (abs(value - base[name][1]) / (base[name][3] - base[name][2]), name)
        for name, (_, value, *_) in claims.items()
        if name in base and None not in (value, base[name][1])
    ]
    return max(shares, default=(0.0, ""))


def report(name: str, found: dict, base: dict[str, list]) -> list[str]:
    """Say in lines what a survey found; where it was of some chapters, the others are left out."""
    base = {claim: base[claim] for claim in base if claim in found["claims"]}
    others = moved(found["claims"], base)
    share, largest = largest_move(found["claims"], base)
    return [
        f"{name}: {len(found['claims'])} claims, {len(others)} read otherwise than in the first "
        f"environment; {largest} moved most, by {share:.0%} of its range",
        *(f"  {c['failure']}" for c in found["chapters"].values() if c["failure"]),
        *(f"  {claim}: {was} -> {now}" for claim, (was, now) in others.items()),
        *(f"  out of its range: {claim}" for claim in out_of_range(found["claims"], base)),
    ]
