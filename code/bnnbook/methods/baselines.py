"""Baselines: what a network must beat before its uncertainty is worth a word.

Two for regression (a Bayesian linear model, a random forest) and two for classification (logistic
regression, linear discriminant analysis).  All are scikit-learn's; this module turns each into a
predictive, so that it is scored in exactly the way in which the networks are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import BayesianRidge, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..predictive import ClassificationPredictive, RegressionPredictive


@dataclass(frozen=True)
class LinearPosterior:
    """Posterior of a Bayesian linear model, given its noise and prior scales.

    Attributes
    ----------
    scaler : StandardScaler
        Standardises the inputs with the training part's mean and deviation.
    mean : ndarray, shape (features + 1,)
        Posterior mean of the intercept and the coefficients of the standardised inputs.
    covariance : ndarray, shape (features + 1, features + 1)
        Posterior covariance of the same.
    noise_scale : float
        Standard deviation σ of the noise, in the target's units.
    """

    scaler: StandardScaler
    mean: np.ndarray
    covariance: np.ndarray
    noise_scale: float

    def predictive(self, X: np.ndarray, *, draws: int = 100, seed: int) -> RegressionPredictive:
        """Return the predictive of new inputs, shape (n, features), from draws of the weights."""
        inputs = np.column_stack([np.ones(len(X)), self.scaler.transform(X)])
        rng = np.random.default_rng(seed)
        weights = rng.multivariate_normal(self.mean, self.covariance, size=draws)
        mean = weights @ inputs.T
        return RegressionPredictive(mean, np.full_like(mean, self.noise_scale))


@dataclass(frozen=True)
class PointRegression:
    """A point prediction with constant Normal noise around it.

    Attributes
    ----------
    model : RandomForestRegressor
        The fitted model.
    noise_scale : float
        Standard deviation of its errors on data that it was not fitted to, in the target's units.
    """

    model: RandomForestRegressor
    noise_scale: float

    def predictive(self, X: np.ndarray) -> RegressionPredictive:
        """Return the predictive, of one single draw, of new inputs, shape (n, features)."""
        mean = self.model.predict(X)[None]
        return RegressionPredictive(mean, np.full_like(mean, self.noise_scale))


@dataclass(frozen=True)
class PointClassification:
    """Class probabilities at one point estimate of the parameters.

    Attributes
    ----------
    model : ClassifierMixin
        The fitted classifier.
    """

    model: ClassifierMixin

    def predictive(self, X: np.ndarray) -> ClassificationPredictive:
        """Return the predictive, of one single draw, of new inputs, shape (n, features)."""
        return ClassificationPredictive(self.model.predict_proba(X)[None])


def linear_regression(X: np.ndarray, y: np.ndarray) -> LinearPosterior:
    """Fit a Bayesian linear model whose noise and prior scales maximise the evidence.

    The prior is N(0, τ²) on each coefficient of the standardised inputs and flat on the intercept.

    Parameters
    ----------
    X : ndarray, shape (n, features)
        Inputs; they are standardised inside.
    y : ndarray, shape (n,)
        Target.

    Returns
    -------
    LinearPosterior

    References
    ----------
    D. J. C. MacKay: Bayesian interpolation. Neural Computation 4(3), 1992.
    """
    scaler = StandardScaler().fit(X)
    model = BayesianRidge().fit(scaler.transform(X), y)
    covariance = np.zeros((X.shape[1] + 1,) * 2)
    # The inputs are centred, so the intercept is independent of the coefficients: N(mean y, σ²/n).
    covariance[0, 0] = 1 / (model.alpha_ * len(y))
    covariance[1:, 1:] = model.sigma_
    return LinearPosterior(
        scaler=scaler,
        mean=np.append(model.intercept_, model.coef_),
        covariance=covariance,
        noise_scale=float(1 / np.sqrt(model.alpha_)),
    )


def random_forest(X: np.ndarray, y: np.ndarray, *, trees: int = 200, seed: int) -> PointRegression:
    """Fit a random forest, with its out-of-bag error as the noise scale.

    A third of the features is tried at each split, as its author recommends for regression.

    Parameters
    ----------
    X : ndarray, shape (n, features)
        Inputs.
    y : ndarray, shape (n,)
        Target.
    trees : int
        Number of trees; with few, some rows are out of no tree's bag and have no error.
    seed : int
        Seed of the bootstrap and of the choice of features.

    Returns
    -------
    PointRegression

    References
    ----------
    L. Breiman: Random forests. Machine Learning 45, 2001.
    """
    forest = RandomForestRegressor(trees, max_features=1 / 3, oob_score=True, random_state=seed)
    forest.fit(X, y)
    error = y - forest.oob_prediction_
    return PointRegression(forest, noise_scale=float(np.sqrt(np.mean(error**2))))


def logistic_regression(
    X: np.ndarray, y: np.ndarray, *, prior_scale: float = 10.0
) -> PointClassification:
    """Fit a multinomial logistic regression by maximum a posteriori.

    Parameters
    ----------
    X : ndarray, shape (n, features)
        Inputs; they are standardised inside.
    y : ndarray of int, shape (n,)
        Labels.
    prior_scale : float
        Standard deviation of the Normal prior on each weight.

    Returns
    -------
    PointClassification
    """
    # scikit-learn minimises ½ ‖w‖² + C · loss, hence C is the prior's variance.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=prior_scale**2, max_iter=1000))
    return PointClassification(model.fit(X, y))


def discriminant_analysis(X: np.ndarray, y: np.ndarray) -> PointClassification:
    """Fit a linear discriminant analysis: one Normal per class, with a common covariance.

    Parameters
    ----------
    X : ndarray, shape (n, features)
        Inputs.
    y : ndarray of int, shape (n,)
        Labels.

    Returns
    -------
    PointClassification

    References
    ----------
    R. A. Fisher: The use of multiple measurements in taxonomic problems. Annals of Eugenics 7(2),
    1936.
    """
    return PointClassification(LinearDiscriminantAnalysis().fit(X, y))
