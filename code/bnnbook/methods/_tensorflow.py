"""Imports TensorFlow, TensorFlow Probability and Keras 2 without their start-up messages.

Other modules, and chapters, import this one first: after it, ``import tensorflow`` is silent.
Training loops are compiled with `compiled`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what is written to the process's standard error, by C++ code too."""
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


# TensorFlow Probability's layers are Keras 2 layers; without this TensorFlow loads Keras 3 too.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
# Information and warnings of the C++ runtime, such as "rebuild with the appropriate flags".
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# "Could not find cuda drivers" is logged while the libraries load, before any setting counts.
with _silent_stderr():
    # Where PyTorch is built for graphics cards, it brings this compiler; loaded after TensorFlow,
    # which contains other versions of the same functions, it would crash the process.
    with suppress(ImportError):
        import triton  # noqa: F401

    import tensorflow as tf
    import tensorflow_probability as tfp
    import tf_keras

    # It has no public name.
    from tensorflow.python.eager.context import function_executor_type

__all__ = ["compiled", "tf", "tf_keras", "tfp"]


def compiled(signature: Sequence) -> Callable[[Callable], Callable]:
    """Decorate a loop of many small operations: a `tf.function` that runs them one by one.

    TensorFlow's usual executor looks for operations that could run side by side.  In a training
    step of a small network there are none that would gain by it, and the search takes a quarter of
    the time.

    Parameters
    ----------
    signature : sequence of tf.TensorSpec
        The arguments, so that one trace serves all calls.
    """

    def decorate(function: Callable) -> Callable:
        graph = tf.function(function, input_signature=signature)

        @wraps(function)
        def call(*arguments: tf.Tensor) -> object:
            with function_executor_type("SINGLE_THREADED_EXECUTOR"):
                return graph(*arguments)

        return call

    return decorate
