"""Equal weights give equal log prior, log likelihood, KL and predictions in every library.

What is tested is what the chapter teaches: its cells tagged `parity` are executed here, and then
compared on other networks, priors, weights and draws than its own.
"""

import inspect
import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from bookext.pages import ROOT, Page

CHAPTER = Page(ROOT / "book" / "crosswalk.md")
QUANTITIES = ("log prior", "log likelihood", "KL", "probabilities")
LIBRARIES = ("by_torchbnn", "by_tfp", "by_keras")
BUILDERS = {"by_torchbnn": "in_torchbnn", "by_tfp": "in_tfp", "by_keras": "in_keras"}
IMPORTS = """
import math
import numpy as np
from scipy.special import log_softmax
"""


def cells(tag: str) -> str:
    """Join the chapter's cells that bear a tag."""
    found = [c.source for c in CHAPTER.notebook().cells if tag in c.metadata.get("tags", [])]
    assert found
    return "\n\n".join(found)


@pytest.fixture(scope="module")
def chapter() -> dict:
    """Execute the tagged cells; the functions read their settings from what is returned."""
    namespace: dict = {}
    from bnnbook.methods import keras_variational  # isort: skip  # silences TensorFlow

    import keras
    import tensorflow as tf
    import tensorflow_probability as tfp
    import tf_keras
    import torch
    import torchbnn
    from torch import nn

    exec(IMPORTS, namespace)
    namespace |= {
        "keras_variational": keras_variational,
        "keras": keras,
        "tf": tf,
        "tfp": tfp,
        "tfd": tfp.distributions,
        "tf_keras": tf_keras,
        "torch": torch,
        "bnn": torchbnn,
        "nn": nn,
    }
    exec(cells("parity"), namespace)
    return namespace


def problem(sizes: tuple[int, ...], seed: int) -> tuple:
    """Draw variational parameters, noise and data for a network of these sizes."""
    rng = np.random.default_rng(seed)
    shapes = [(inputs + 1, outputs) for inputs, outputs in itertools.pairwise(sizes)]
    theta = [(rng.normal(0, 1, shape), rng.uniform(0.01, 1, shape)) for shape in shapes]
    noise = [rng.standard_normal(shape) for shape in shapes]
    return theta, noise, rng.standard_normal((7, sizes[0])), rng.integers(sizes[-1], size=7)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("sizes", "prior_scale"),
    [((4, 8, 3), 2.0), ((4, 3), 0.1), ((1, 1, 2), 1.0), ((5, 4, 3, 2), 0.7)],
)
def test_equal_weights_give_equal_quantities(
    chapter: dict, library: str, sizes: tuple[int, ...], prior_scale: float
) -> None:
    chapter["prior_scale"] = prior_scale
    arguments = problem(sizes, seed=0)
    ours, theirs = chapter["by_hand"](*arguments), chapter[library](*arguments)
    for quantity in QUANTITIES:
        np.testing.assert_allclose(
            theirs[quantity], ours[quantity], rtol=1e-5, atol=1e-5, err_msg=quantity
        )


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_each_quantity_can_differ(chapter: dict, library: str, quantity: str) -> None:
    """The comparison has teeth: another posterior and another draw change each quantity."""
    chapter["prior_scale"] = 1.0
    theta, noise, X, y = problem((4, 8, 3), seed=0)
    other = [(mean + 0.01, scale) for mean, scale in theta]
    ours, theirs = chapter["by_hand"](theta, noise, X, y), chapter[library](other, noise, X, y)
    assert np.abs(theirs[quantity] - ours[quantity]).max() > 1e-3


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_wrong_prior_in_the_layers_is_noticed(
    chapter: dict, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log prior and KL are those of the layers, whatever the chapter's own setting says."""
    right, wrong = 1.0, 5.0
    build = chapter[BUILDERS[library]]

    def build_wrongly(*args: object, **kwargs: object) -> object:
        chapter["prior_scale"] = wrong
        model = build(*args, **kwargs)
        chapter["prior_scale"] = right
        return model

    arguments = problem((4, 8, 3), seed=0)
    chapter["prior_scale"] = wrong
    ours = chapter["by_hand"](*arguments)
    chapter["prior_scale"] = right
    monkeypatch.setitem(chapter, BUILDERS[library], build_wrongly)
    theirs = chapter[library](*arguments)
    for quantity in QUANTITIES:
        np.testing.assert_allclose(
            theirs[quantity], ours[quantity], rtol=1e-5, atol=1e-5, err_msg=quantity
        )
    # What the right prior gives is far away.
    yardstick = chapter["by_hand"](*arguments)
    assert abs(theirs["log prior"] - yardstick["log prior"]) > 1
    assert abs(theirs["KL"] - yardstick["KL"]) > 1


def test_a_wrong_prior_of_the_bias_is_noticed(
    chapter: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TFP's prior is a function of both sizes, so the bias may have another one."""
    chapter["prior_scale"] = 1.0

    def prior(kernel_size: int, bias_size: int, dtype: object = None) -> object:
        tf, tfp, tf_keras = (chapter[name] for name in ("tf", "tfp", "tf_keras"))
        scale = tf.concat([tf.ones(kernel_size), 5.0 * tf.ones(bias_size)], axis=0)
        p = tfp.distributions.MultivariateNormalDiag(tf.zeros_like(scale), scale)
        return tf_keras.Sequential([tfp.layers.DistributionLambda(lambda _: p)])

    monkeypatch.setitem(chapter, "tfp_prior", prior)
    arguments = problem((4, 8, 3), seed=0)
    ours, theirs = chapter["by_hand"](*arguments), chapter["by_tfp"](*arguments)
    for quantity in ("log prior", "KL"):
        assert abs(theirs[quantity] - ours[quantity]) > 1


def test_by_hand_is_scipy(chapter: dict) -> None:
    """The yardstick itself, against densities of SciPy and an integral."""
    from scipy import integrate, stats

    chapter["prior_scale"] = 0.7
    theta, noise, X, y = problem((1, 1), seed=3)
    ours = chapter["by_hand"](theta, noise, X, y)
    (mean, scale), e = theta[0], noise[0]
    assert ours["log prior"] == pytest.approx(stats.norm.logpdf(mean + scale * e, 0, 0.7).sum())

    def divergence(m: float, s: float) -> float:
        q, p = stats.norm(m, s), stats.norm(0, 0.7)
        return integrate.quad(
            lambda w: q.pdf(w) * (q.logpdf(w) - p.logpdf(w)), m - 9 * s, m + 9 * s
        )[0]

    expected = sum(divergence(m, s) for m, s in zip(mean.flat, scale.flat, strict=True))
    assert ours["KL"] == pytest.approx(expected, abs=1e-7)


def test_keras_layer_trains_by_fit(chapter: dict) -> None:
    """`fit` adds the layers' KL to the loss: without data it leads the posterior to the prior."""
    keras = chapter["keras"]
    chapter["prior_scale"] = 0.5
    theta, _, X, y = problem((2, 2), seed=0)
    model = chapter["in_keras"](theta, kl_weight=1.0, noise=(None,))
    model.compile(keras.optimizers.Adam(0.1), lambda y, output: 0 * output, jit_compile=False)
    model.fit(np.tile(X, (150, 1)), np.tile(y, 150), batch_size=7, verbose=0)
    (layer,) = model.layers
    assert float(layer.kl()) < 0.01
    np.testing.assert_allclose(np.exp(layer.log_scale.numpy()), 0.5, rtol=0.05)


def test_keras_layer_draws_what_it_says(chapter: dict) -> None:
    """Many units with equal parameters are many draws."""
    layer = chapter["VariationalDense"](4000, prior_scale=1.0, kl_weight=1.0)
    layer.build((None, 1))
    alike = np.ones((1, 4000))
    layer.set_weights([[[2.0], [1.0]] * alike, np.log([[0.5], [0.1]]) * alike])
    outputs = layer(np.array([[0.0], [1.0]])).numpy()
    np.testing.assert_allclose(outputs.mean(axis=1), [1, 3], atol=0.05)
    np.testing.assert_allclose(outputs.std(axis=1), [0.1, math.hypot(0.5, 0.1)], rtol=0.06)


def test_keras_layer_runs_on_pytorch() -> None:
    """The chapter says that nothing in the layer is TensorFlow's."""
    program = f"""
import itertools
import keras, torch
{IMPORTS}
{inspect.getsource(problem)}
{cells("by-hand")}
{cells("keras-3")}
theta, noise, X, y = problem((4, 8, 3), seed=1)
with torch.no_grad():
    ours, theirs = by_hand(theta, noise, X, y), by_keras(theta, noise, X, y)
for quantity in ours:
    np.testing.assert_allclose(theirs[quantity], ours[quantity], rtol=1e-5, atol=1e-5)
print(keras.backend.backend())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.returncode) == ("torch\n", 0), done.stderr[-2000:]


def test_published_program_runs_with_tf_keras() -> None:
    """The second of the chapter's three ways on; the chapter runs the other two."""
    (cell,) = (c for c in CHAPTER.notebook().cells if c.source.startswith("program = "))
    namespace: dict = {}
    exec(cell.source, namespace)
    program = namespace["program"].replace(
        "from tensorflow import keras", "import tf_keras as keras"
    )
    assert "import tf_keras as keras" in program
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("trained")
