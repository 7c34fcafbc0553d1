"""The chapters as the tutorials would have written them: one thing at a time.

`install` replaces the parts of the package that do many things in one computation: Keras's own
`fit`, or a compiled step that Python calls, instead of a compiled loop; one call of a model for
each weight draw; one network after the other.  What the tutorials do not have (samplers, the
chapters' own small networks) is left as it is, so that the times are lower bounds.
"""

from __future__ import annotations

import copy
import importlib
import math
import sys

import numpy as np

from bnnbook.predictive import ClassificationPredictive, RegressionPredictive


def install(chapter: str) -> None:
    """Replace what the chapter, given by its source text, imports."""
    for module, replace in _REPLACED.items():
        if module in chapter:
            replace(importlib.import_module(f"bnnbook.methods.{module}"))


def _keras_variational(module) -> None:
    tf, tf_keras = module.tf, module.tf_keras

    def fit(self, X, y, *, epochs, seed):
        tf_keras.utils.set_random_seed(seed)
        self._restart(seed)
        rows = tf.data.Dataset.from_tensor_slices(
            (X.astype("float32"), y[:, None].astype("float32"))
        )
        self.model.compile(optimizer=self.optimizer, loss=self.loss)
        self.model.fit(rows.shuffle(len(y)).batch(self.batch_size), epochs=epochs, verbose=0)
        return self.model

    def init(self, model, *, optimizer, loss, batch_size):
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.batch_size = batch_size
        optimizer.build(model.trainable_variables)
        self._start = model.get_weights()

    def predictive(model, X, *, draws=100, noise_scale=None, seed):
        tf_keras.utils.set_random_seed(seed)
        mean, scale = [], []
        for _ in range(draws):
            output = model(X.astype("float32"))
            own = hasattr(output, "stddev")
            mean.append((output.mean() if own else output).numpy()[:, 0])
            scale.append(output.stddev().numpy()[:, 0] if own else np.full(len(X), noise_scale))
        return RegressionPredictive(np.array(mean), np.array(scale))

    module.Trainer.__init__, module.Trainer.fit = init, fit
    module.predictive = predictive


def _full_covariance(module) -> None:
    tf, whole = module.tf, module._training_function
    batched = module.VariationalPosterior.predictive

    def training_function(*settings):
        train = whole(*settings)

        def step_by_step(state, data, seed, first, last):
            losses = []
            for step in range(first, last):
                state, loss = train(state, data, seed, tf.constant(step), tf.constant(step + 1))
                losses.append(float(loss))
            return state, np.mean(losses)

        return step_by_step

    def predictive(self, X, *, draws=200, seed):
        each = [batched(self, X, draws=1, seed=seed + s) for s in range(draws)]
        return RegressionPredictive(
            np.concatenate([p.mean for p in each]), np.concatenate([p.scale for p in each])
        )

    module._training_function = training_function
    module.VariationalPosterior.predictive = predictive


def _torch_variational(module) -> None:
    import torch
    import torchbnn as bnn
    from torch import nn

    def fit_many(
        models,
        Xs,
        ys,
        *,
        kl_weight=None,
        steps=600,
        batch_size=None,
        draws=8,
        learning_rate=0.01,
        cosine=True,
        initial_scale=None,
        seed,
    ):
        fits = []
        n = len(ys[0])
        weights = np.broadcast_to(1 / n if kl_weight is None else kl_weight, len(models))
        for model, X, y, weight in zip(models, Xs, ys, weights, strict=True):
            model = copy.deepcopy(model)
            if initial_scale is not None:
                for name, parameter in model.named_parameters():
                    if name.endswith("_log_sigma"):
                        parameter.data.fill_(math.log(initial_scale))
            inputs, labels = torch.tensor(X).float(), torch.tensor(y).long()
            kl = bnn.BKLLoss(reduction="sum", last_layer_only=False)
            optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
            order = module.batches(len(y), batch_size, torch.Generator().manual_seed(seed))
            torch.manual_seed(seed)
            for step in range(steps):
                if cosine:
                    optimiser.param_groups[0]["lr"] = _cosine(learning_rate, step, steps)
                rows = next(order)
                loss = float(weight) * kl(model)
                for _ in range(draws):
                    output = model(inputs[rows])
                    loss = loss + nn.functional.cross_entropy(output, labels[rows]) / draws
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            fits.append(module.MeanFieldPosterior(model))
        return fits

    def logits(self, X, draws, seed):
        torch.manual_seed(seed)
        inputs = torch.tensor(np.asarray(X, dtype="float32"))
        with torch.no_grad():
            return torch.stack([self.model(inputs) for _ in range(draws)])

    module.fit_many = fit_many
    module.MeanFieldPosterior._logits = logits


def _networks(module) -> None:
    import torch
    from torch import nn

    outputs = module.outputs

    def train(
        models, Xs, ys, *, prior_scale=1.0, steps=660, batch_size=32, learning_rate=0.01, seed
    ):
        trained = []
        for model, X, y in zip(models, Xs, ys, strict=True):
            model = copy.deepcopy(model).train()
            inputs, labels = torch.tensor(X).float(), torch.tensor(y).long()
            optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
            order = module.batches(len(y), batch_size, torch.Generator().manual_seed(seed))
            torch.manual_seed(seed)
            for step in range(steps):
                optimiser.param_groups[0]["lr"] = _cosine(learning_rate, step, steps)
                rows = next(order)
                decay = sum(parameter.square().sum() for parameter in model.parameters())
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
                optimiser.zero_grad()
                (loss + decay / (2 * len(y) * prior_scale**2)).backward()
                optimiser.step()
            trained.append(model.eval())
        return trained

    module.train = train
    module.outputs = lambda models, X: torch.cat([outputs([model], X) for model in models])


def _monte_carlo_dropout(module) -> None:
    batched = module.DropoutPosterior.predictive

    def predictive(self, X, *, draws=100, seed):
        each = [batched(self, X, draws=1, seed=seed + s).probs for s in range(draws)]
        return ClassificationPredictive(np.concatenate(each))

    module.DropoutPosterior.predictive = predictive


def _cosine(learning_rate: float, step: int, steps: int) -> float:
    return learning_rate * (1 + math.cos(math.pi * step / steps)) / 2


# By the name with which a chapter imports it.
_REPLACED = {
    "keras_variational": _keras_variational,
    "full_covariance": _full_covariance,
    "torch_variational": _torch_variational,
    "deep_ensemble": lambda _: _networks(sys.modules["bnnbook.methods.networks"]),
    "monte_carlo_dropout": _monte_carlo_dropout,
}
