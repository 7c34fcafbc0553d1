"""Reference posteriors that are too slow for a chapter: made by one command, stored small.

``make reference`` samples them anew and replaces what is stored; `load` returns what is stored,
with the diagnostics of the run that made it.  What is stored is the predictive of held-out data,
not the weights: predictions are what can be compared between methods, and what converges.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
from importlib.metadata import version

import numpy as np
from scipy.special import softmax

from . import data
from .methods.diagnostics import potential_scale_reduction
from .predictive import ClassificationPredictive, Predictive, RegressionPredictive, concatenate

NAMES = ("wine", "iris")
SEED = 0  # of the stored ones
STORED_DRAWS = 200  # thinned: neighbouring draws repeat one another

# Chains start at draws from a narrower prior for wine, where the prior's own are far from the data.
_SETTINGS = {
    "wine": {
        "hidden": 50,
        "chains": 4,
        "start": 0.1,
        "step_size": 0.005,
        "warmup": 240,
        "draws": 300,
        "max_depth": 8,
    },
    "iris": {
        "hidden": 100,
        "chains": 4,
        "start": 1.0,
        "step_size": 0.02,
        "warmup": 300,
        "draws": 300,
        "max_depth": 8,
    },
}


def wine_split() -> data.Split:
    """Return the split of the wine reference: deduplicated white wine, inputs standardised."""
    return data.split(data.wine("white"), "deduplicated", seed=0).standardised()


def iris_folds() -> list[data.Split]:
    """Return the folds of the iris reference: each flower is held out once, inputs standardised."""
    folds = data.cross_validation(data.iris(), folds=5, repeats=1, seed=0)
    return [fold.standardised() for fold in folds]


def load(name: str) -> tuple[Predictive, dict]:
    """Return a stored reference and the notes of its making.

    Parameters
    ----------
    name : {"wine", "iris"}
        "wine" is the predictive of `wine_split`'s test wines, of a network with 50 tanh units whose
        noise depends on the wine.  "iris" is that of the held-out flowers of `iris_folds`, fold
        after fold, of the 4-100-3 network with a prior of scale 1.

    Returns
    -------
    predictive : RegressionPredictive or ClassificationPredictive
        200 draws.
    notes : dict
        "diagnostics" of the whole run, "settings", "versions" and "sha256".

    Raises
    ------
    ValueError
        If no reference has that name.
    DataError
        If a file is missing, or the draws are not those that the notes describe.
    """
    if name not in NAMES:
        raise ValueError(f"no reference is called {name!r}; expected one of {', '.join(NAMES)}")
    mend = "restore it from the repository, or make it anew: make reference"
    stored, described = _files(name)
    try:
        content = stored.read_bytes()
        notes = json.loads(described.read_text(encoding="utf-8"))
    except OSError as error:
        raise data.DataError(f"cannot read {error.filename}: {error.strerror}; {mend}") from error
    except json.JSONDecodeError as error:
        raise data.DataError(f"{described} is not JSON ({error}); {mend}") from error
    if hashlib.sha256(content).hexdigest() != notes.get("sha256"):
        raise data.DataError(f"{stored} is not the file that {described.name} describes; {mend}")
    with np.load(io.BytesIO(content)) as arrays:
        return _kind(name)(**arrays), notes


def make(name: str, *, seed: int = SEED) -> tuple[Predictive, dict]:
    """Sample a reference anew: all draws, and its diagnostics.

    Parameters
    ----------
    name : {"wine", "iris"}
        Which one.
    seed : int
        Seed of the chains; another one shows the Monte Carlo error.

    Returns
    -------
    predictive : Predictive
        Chain after chain, draw after draw.
    diagnostics : dict
        The worst value of each diagnostic; see `NutsPosterior.diagnostics`.  And "R-hat of
        weights", which need not be near 1.
    """
    return {"wine": _make_wine, "iris": _make_iris}[name](**_SETTINGS[name], seed=seed)


def store(name: str, predictive: Predictive, diagnostics: dict) -> None:
    """Replace a stored reference.

    Parameters
    ----------
    name : {"wine", "iris"}
        Which one.
    predictive, diagnostics
        From `make`.
    """
    kept = np.linspace(0, predictive.draws - 1, STORED_DRAWS).astype(int)
    buffer = io.BytesIO()
    if name == "wine":
        # Half precision: three digits, far below the Monte Carlo error, at half of the size.
        arrays = {"mean": np.float16(predictive.mean), "scale": np.float16(predictive.scale)}
    else:
        arrays = {"probs": np.float32(predictive.probs)}  # must sum to 1
    np.savez_compressed(buffer, **{field: array[kept] for field, array in arrays.items()})
    content = buffer.getvalue()
    notes = {
        "settings": _SETTINGS[name] | {"seed": SEED, "stored_draws": STORED_DRAWS},
        "diagnostics": diagnostics,
        "versions": {
            "python": platform.python_version(),
            **{p: version(p) for p in ("numpy", "tensorflow", "tensorflow-probability")},
        },
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    written = (content, (json.dumps(notes, indent=2) + "\n").encode())
    # Both are complete before either is replaced: an interrupted run leaves the old pair.
    for path, new in zip(_files(name), written, strict=True):
        path.with_suffix(".new" + path.suffix).write_bytes(new)
    for path in _files(name):
        path.with_suffix(".new" + path.suffix).replace(path)


def held_out(name: str) -> np.ndarray:
    """Return the targets of the data points of a reference, shape (n,)."""
    if name == "wine":
        return wine_split().y_test
    return np.concatenate([fold.y_test for fold in iris_folds()])


def _make_wine(hidden: int, **settings: float) -> tuple[Predictive, dict]:
    from .methods._tensorflow import tf

    split = wine_split()
    centre, unit = split.y_train.mean(), split.y_train.std()
    sizes = features, _, outputs = (split.X_train.shape[1], hidden, 2)
    # Prior standard deviations: 1/√inputs for a kernel, so that the functions that the prior draws
    # have the same size for any number of features and units; 1 for a bias.
    tau = np.repeat(
        np.array([features**-0.5, 1, hidden**-0.5, 1], np.float32),
        [features * hidden, hidden, hidden * outputs, outputs],
    )

    # The sampler sees weights in units of their prior: it can take longer steps in these.
    def log_joint(w, X, y):
        mean, raw = tf.unstack(_network(w * tau, X, sizes, tf.tanh, tf), axis=-1)
        scale = 0.05 + tf.nn.softplus(raw)
        log_likelihood = -0.5 * ((y - mean) / scale) ** 2 - tf.math.log(scale)
        return tf.reduce_sum(log_likelihood, -1) - 0.5 * tf.reduce_sum(w**2, -1)

    def predict(w, X):
        mean, raw = np.moveaxis(_network(w * tau, X, sizes, np.tanh, np), -1, 0)
        return RegressionPredictive(centre + unit * mean, unit * (0.05 + np.logaddexp(0, raw)))

    y = (split.y_train - centre) / unit
    return _sample(log_joint, predict, split, y, weights=len(tau), **settings)


def _make_iris(hidden: int, **settings: float) -> tuple[Predictive, dict]:
    from .methods._tensorflow import tf

    sizes = (4, hidden, 3)

    def log_joint(w, X, one_hot):
        log_probs = tf.nn.log_softmax(_network(w, X, sizes, tf.nn.relu, tf))
        return tf.reduce_sum(one_hot * log_probs, [1, 2]) - 0.5 * tf.reduce_sum(w**2, -1)

    def predict(w, X):
        outputs = _network(w, X, sizes, lambda a: np.maximum(a, 0), np)
        return ClassificationPredictive(softmax(outputs, axis=-1))

    weights = 5 * hidden + 3 * (hidden + 1)
    predictives, diagnostics = zip(
        *(
            _sample(log_joint, predict, fold, np.eye(3)[fold.y_train], weights=weights, **settings)
            for fold in iris_folds()
        ),
        strict=True,
    )
    worst = {key: [d[key] for d in diagnostics] for key in diagnostics[0]}
    lowest = ("effective sample size", "energy fraction")
    return concatenate(predictives, "data"), {
        key: min(values) if key in lowest else max(values) for key, values in worst.items()
    }


def _network(w, X, sizes: tuple[int, int, int], activation, xp):
    """Outputs (draws, n, outputs) of networks with one hidden layer; xp is TensorFlow or NumPy."""
    features, hidden, outputs = sizes
    ends = np.cumsum([features * hidden, hidden, hidden * outputs])
    kernel_1 = xp.reshape(w[:, : ends[0]], (-1, features, hidden))
    kernel_2 = xp.reshape(w[:, ends[1] : ends[2]], (-1, hidden, outputs))
    units = activation(xp.matmul(X, kernel_1) + w[:, None, ends[0] : ends[1]])
    return xp.matmul(units, kernel_2) + w[:, None, ends[2] :]


def _sample(
    log_joint,
    predict,
    split: data.Split,
    y: np.ndarray,
    *,
    weights: int,
    chains: int,
    start: float,
    seed: int,
    **settings: float,
) -> tuple[Predictive, dict]:
    from .methods import nuts

    rng = np.random.default_rng(seed)
    posterior = nuts.fit(
        log_joint,
        predict,
        split.X_train,
        y,
        start=start * rng.standard_normal((chains, weights)),
        seed=seed,
        **settings,
    )
    diagnostics = posterior.diagnostics(split.X_test)
    r_hat_of_weights = float(potential_scale_reduction(posterior.chains).max())
    return posterior.predictive(split.X_test), diagnostics | {"R-hat of weights": r_hat_of_weights}


def _kind(name: str) -> type[Predictive]:
    return {"wine": RegressionPredictive, "iris": ClassificationPredictive}[name]


def _files(name: str) -> tuple:
    return tuple(data.DATASETS / f"reference_{name}.{suffix}" for suffix in ("npz", "json"))


if __name__ == "__main__":
    for name in NAMES:
        print(f"{name}:")
        store(name, *make(name))
