"""The live figures compute in JavaScript what the package computes in Python."""

import json
import subprocess
from pathlib import Path

import numpy as np
import playwright
import torch
from scipy import stats
from scoringrules import crps_mixnorm

from bnnbook import decisions, figures
from bnnbook.methods import conjugate
from bnnbook.predictive import ClassificationPredictive

# Playwright brings a Node that is new enough.
NODE = Path(playwright.__file__).parent / "driver" / "node"
TESTS = Path(__file__).parent / "live"
rng = np.random.default_rng(0)


def linear() -> tuple[dict, dict]:
    X, y, at = rng.normal(size=(12, 4)), rng.normal(size=12), rng.normal(size=(5, 4))
    scales, noise, z = np.array([1.0, 0.5, 2.0, 3.0]), 0.3, rng.normal(size=4)
    q = conjugate.fit(X, y, prior_scale=scales, noise_scale=noise)
    precision = np.linalg.inv(q.covariance)
    alone = 1 / np.diag(precision)
    return (
        {"rows": X, "y": y, "scales": scales, "noise": noise, "at": at, "z": z},
        {
            "mean": q.mean,
            "spread": q.exact_predictive(at).variance - noise**2,
            "independentSpread": at**2 @ alone,
            "draw": q.mean + np.linalg.solve(np.linalg.cholesky(precision).T, z),
            "independentDraw": q.mean + np.sqrt(alone) * z,
        },
    )


def features() -> tuple[dict, list]:
    x, slopes, kinks = rng.normal(size=3), rng.uniform(0.5, 4, 5), rng.normal(size=5)
    hidden = np.tanh(slopes * (x[:, None] - kinks))
    return {"x": x, "slopes": slopes, "kinks": kinks}, np.c_[np.ones(3), hidden]


def grid() -> tuple[dict, dict]:
    x, y, sites = rng.normal(size=9), rng.normal(size=9), np.linspace(-3, 3, 121)
    q = conjugate.fit(np.c_[np.ones(9), x], y, prior_scale=0.7, noise_scale=0.8)
    given = {"x": x, "y": y, "sites": sites, "scale": 0.7, "noise": 0.8}
    return given, {"slope": q.mean[1], "sd": np.sqrt(q.covariance[1, 1])}


def uniforms(state: int):
    """The generator mulberry32, in the middle of its steps of 2**-32."""
    word = 2**32 - 1
    while True:
        state = (state + 0x6D2B79F5) & word
        t = (state ^ (state >> 15)) * (state | 1) & word
        t ^= (t + ((t ^ (t >> 7)) * (t | 61) & word)) & word
        yield ((t ^ (t >> 14)) + 0.5) / 2**32


def normals() -> tuple[dict, list]:
    u = uniforms(5)
    drawn = [np.sqrt(-2 * np.log(next(u))) * np.cos(2 * np.pi * next(u)) for _ in range(4000)]
    assert stats.kstest(drawn, "norm").pvalue > 0.1
    return {"seed": 5, "many": 4000}, drawn


def prior() -> tuple[dict, list]:
    inputs, units, scale, output_scale = np.linspace(-2, 2, 7), 5, 0.8, 0.3
    z = rng.normal(size=3 * units + 1)
    w1, b1, w2 = z[:-1].reshape(units, 3).T
    before = scale * (inputs[:, None] * w1 + b1)
    expected = [
        activation(before) @ (output_scale * w2) + scale * z[-1]
        for activation in (np.tanh, lambda v: np.maximum(v, 0), lambda v: v > 0)
    ]
    given = {"inputs": inputs, "units": units, "z": z, "scale": scale, "outputScale": output_scale}
    return given, expected


def leapfrog(model: str) -> tuple[dict, list]:
    rows = rng.normal(size=(15, 2 if model == "linear" else 1))
    y, scale, noise, step, steps = rng.normal(size=15), 1.2, 0.8, 0.06, 12
    X, target = torch.tensor(rows), torch.tensor(y)

    def height(w: torch.Tensor) -> torch.Tensor:
        f = X @ w if model == "linear" else w[1] * torch.tanh(w[0] * X[:, 0])
        prior = torch.distributions.Normal(0, scale).log_prob(w).sum()
        likelihood = torch.distributions.Normal(f, noise).log_prob(target).sum()
        constant = 2 * np.log(scale) + len(y) * np.log(noise) + (2 + len(y)) / 2 * np.log(2 * np.pi)
        return -prior - likelihood - constant

    w, p = torch.tensor([0.4, -0.7], dtype=torch.float64), torch.tensor([1.1, 0.3]).double()
    slope = torch.func.grad(height)
    given = {"model": model, "rows": rows, "y": y, "scale": scale, "noise": noise}
    given |= {"w": w.numpy(), "push": p.numpy(), "step": step, "steps": steps}
    path = []
    for _ in range(steps + 1):
        path.append({"w": w.numpy(), "p": p.numpy(), "energy": float(height(w) + p @ p / 2)})
        p = p - step / 2 * slope(w)
        w = w + step * p
        p = p - step / 2 * slope(w)
    return given, path


def draws(kind: str) -> tuple[dict, dict]:
    """Sample in Python, with the same numbers, from a posterior in closed form."""
    rows, y, scale, noise = rng.normal(size=(10, 2)), rng.normal(size=10), 1.0, 0.8
    q = conjugate.fit(rows, y, prior_scale=scale, noise_scale=noise)
    precision = np.linalg.inv(q.covariance)
    u = uniforms(3)

    def height(w: np.ndarray) -> float:
        return (w - q.mean) @ precision @ (w - q.mean) / 2

    def normal() -> float:
        return np.sqrt(-2 * np.log(next(u))) * np.cos(2 * np.pi * next(u))

    w, places, moves, tries = q.mean, [], 0, 0
    given = {"kind": kind, "rows": rows, "y": y, "scale": scale, "noise": noise, "w": w}
    given |= {"draws": 40, "step": 0.15, "steps": 6, "seed": 3}
    for _ in range(40):
        for _ in range(1 if kind == "hamiltonian" else 6):
            p = start = np.array([normal(), normal()])
            new = w
            for _ in range(6 if kind == "hamiltonian" else 0):
                p = p - 0.075 * precision @ (new - q.mean)
                new = new + 0.15 * p
                p = p - 0.075 * precision @ (new - q.mean)
            if kind == "walk":
                new = w + 0.15 * p
            gain = height(new) - height(w) + (p @ p - start @ start) / 2
            tries += 1
            if next(u) < np.exp(-gain):
                w, moves = new, moves + 1
        places.append(w)
    return given, {"places": places, "rate": moves / tries}


def packed() -> tuple[dict, dict]:
    arrays = {
        "bytes": np.arange(256, dtype=np.uint8),
        "halves": np.array([0, 1, -2.5, 6.1e-5, 3e-7, 65504, 1 / 3], dtype=np.float16),
    }
    return {name: figures._packed(array) for name, array in arrays.items()}, arrays


def doubt() -> tuple[np.ndarray, dict]:
    probs = rng.dirichlet(np.ones(4), size=7)
    probs[0] = [1, 0, 0, 0]
    p = ClassificationPredictive(probs[:, None])
    return probs, {
        "average": p.expectation[0],
        "entropy": p.entropy[0],
        "aleatoric": p.aleatoric[0],
        "epistemic": p.epistemic[0],
    }


def dense() -> tuple[dict, np.ndarray]:
    w, x = rng.normal(size=4 * 6 + 6 + 6 * 3 + 3), rng.normal(size=4)
    k1, b1, k2, b2 = np.split(w, [24, 30, 48])
    outputs = np.maximum(x @ k1.reshape(4, 6) + b1, 0) @ k2.reshape(6, 3) + b2
    return {"w": w, "x": x, "units": 6, "classes": 3}, torch.tensor(outputs).softmax(0).numpy()


def digit() -> tuple[dict, np.ndarray]:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, kernel_size=3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(16, 32, kernel_size=3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(128, 8),
    ).double()
    image = torch.tensor(rng.random((1, 1, 8, 8)))
    with torch.no_grad():
        expected = network(image).softmax(-1)[0].numpy()
    layers = [p.detach().numpy().ravel() for p in network.parameters()]
    return {"layers": layers, "image": image.numpy().ravel()}, expected


def score(share: float, width: float, y: float) -> tuple[dict, dict]:
    m, s, grades = 5.7, 0.9, np.arange(3, 10)
    edges = stats.norm(m, s).cdf(np.r_[-np.inf, grades[1:] - 0.5, np.inf])
    weight = np.r_[1 - share, share * np.diff(edges)]
    mean, scale = np.r_[m, grades], np.r_[s, np.full(7, width)]
    normal = stats.norm(mean, scale)
    density, mass = weight @ normal.pdf(y), weight @ (normal.cdf(y + 0.5) - normal.cdf(y - 0.5))
    given = {"m": m, "s": s, "share": share, "width": width, "grades": grades, "y": y}
    return given, {
        "nll": -np.log(density),
        "discretised": -np.log(mass),
        "crps": crps_mixnorm(y, mean, scale, weight),
        "pit": weight @ normal.cdf(y),
    }


def abstain() -> tuple[dict, dict]:
    doubts = rng.random(600)
    wrong = rng.random(600) < 0.3 * doubts**4
    curve = decisions.risk_coverage(doubts, wrong)
    chosen = np.unique(np.r_[curve.threshold[200::12], curve.threshold[-1]])
    places = np.searchsorted(curve.threshold, chosen)
    setting = {"risk": 0.02, "confidence": 0.9}
    proved = decisions.guaranteed_threshold(doubts, wrong, thresholds=chosen, **setting)
    assert curve.threshold[0] < proved < curve.threshold[-1]
    good = curve.risk[places] <= 0.02
    return (
        {"doubts": doubts, "wrong": wrong.astype(int), "thresholds": chosen}
        | {"promise": 0.02, "confidence": 0.9},
        {
            "coverage": curve.coverage[places],
            "risk": curve.risk[places],
            "proved": proved,
            "obvious": chosen[good][-1],
        },
    )


def cases() -> list[tuple[str, object, object]]:
    z = np.r_[np.linspace(-9, 9, 61), -37.5, 40]
    energies = np.array([[0, 0.5], [2, 1], [1, 800]])
    trials = [(0, 230, 0.01), (3, 500, 0.02), (40, 300, 0.1), (5, 5, 0.3)]
    return [
        ("linear", *linear()),
        ("features", *features()),
        ("grid", *grid()),
        ("normals", *normals()),
        ("prior", *prior()),
        ("leapfrog", *leapfrog("linear")),
        ("leapfrog", *leapfrog("network")),
        ("draws", *draws("hamiltonian")),
        ("draws", *draws("walk")),
        ("acceptance", energies, np.minimum(1, np.exp(energies[:, 0] - energies[:, 1]))),
        ("packed", *packed()),
        ("doubt", *doubt()),
        ("dense", *dense()),
        ("digit", *digit()),
        ("cdf", z, stats.norm.cdf(z)),
        ("score", *score(0, 0.1, 6)),
        ("score", *score(0.5, 0.2, 8)),
        ("score", *score(0.9, 0.03, 3)),
        ("binomial", trials, [stats.binom.cdf(*trial) for trial in trials]),
        ("abstain", *abstain()),
    ]


def test_javascript_agrees_with_python(tmp_path: Path) -> None:
    file = tmp_path / "cases.json"
    written = [
        {"name": name, "given": given, "expected": expected} for name, given, expected in cases()
    ]
    file.write_text(json.dumps(written, default=lambda array: array.tolist()), encoding="utf-8")
    done = subprocess.run(
        [NODE, "--test", "mathematics.test.js"],
        cwd=TESTS,
        env={"LIVE_CASES": str(file)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"pass {len(written) + 1}" in done.stdout
