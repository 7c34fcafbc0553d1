"""The data sets of the book: arrays with names, units, source and licence, and honest splits.

The wine files are part of the package and are verified against a SHA-256 at every load, so that
no chapter can compute on a damaged or edited copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

DATASETS = Path(__file__).parent / "datasets"

_WINE_SHA256 = {
    "white": "76c3f809815c17c07212622f776311faeb31e87610d52c26d87d6e361b169836",
    "red": "4a402cf041b025d4566d954c3b9ba8635a3a8a01e039005d97d6a710278cf05e",
}
_WINE_UNITS = {
    "fixed acidity": "g/L",
    "volatile acidity": "g/L",
    "citric acid": "g/L",
    "residual sugar": "g/L",
    "chlorides": "g/L",
    "free sulfur dioxide": "mg/L",
    "total sulfur dioxide": "mg/L",
    "density": "g/mL",
    "pH": "",
    "sulphates": "g/L",
    "alcohol": "% by volume",
}


class DataError(Exception):
    """A data file is missing, damaged, or holds what it must not hold."""


@dataclass(frozen=True)
class Dataset:
    """Inputs, target, and all that a reader must know about them.

    Attributes
    ----------
    name : str
        What the data are, for titles and error messages.
    X : ndarray, shape (n, features)
        Inputs, in the units of `units`.
    y : ndarray, shape (n,)
        Target: floats for a regression, integer class labels for a classification.
    feature_names, units : tuple of str
        One entry per column of `X`; an empty unit means dimensionless.
    target_name : str
        What `y` measures.
    class_names : tuple of str
        Names of the classes; empty for a regression.
    source, licence, credit : str
        Where the data come from, on which terms, and whom to thank.
    """

    name: str
    X: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    feature_names: tuple[str, ...]
    units: tuple[str, ...]
    target_name: str
    class_names: tuple[str, ...]
    source: str
    licence: str
    credit: str

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together or hold a non-finite value."""
        if self.X.ndim != 2 or self.y.shape != self.X.shape[:1]:
            raise DataError(
                f"{self.name}: X must have shape (n, features) and y shape (n,), "
                f"but they have {self.X.shape} and {self.y.shape}"
            )
        if len(self.feature_names) != self.X.shape[1] or len(self.units) != self.X.shape[1]:
            raise DataError(
                f"{self.name}: {self.X.shape[1]} columns need as many names and units, but there "
                f"are {len(self.feature_names)} names and {len(self.units)} units"
            )
        _refuse_non_finite(self.name, self.X, self.y, self.feature_names)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.y)

    @cached_property
    def row_group(self) -> np.ndarray:
        """Group number of each row, shape (n,): equal for rows with equal inputs and target."""
        rows = np.column_stack([self.X, self.y])
        return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)

    @cached_property
    def first_of_group(self) -> np.ndarray:
        """Positions of the first row of each group, in file order: the distinct rows."""
        return np.sort(np.unique(self.row_group, return_index=True)[1])

    def column(self, feature: str) -> int:
        """Return the position of a feature.

        Raises
        ------
        ValueError
            If no feature has that name.
        """
        if feature not in self.feature_names:
            raise ValueError(
                f"{self.name} has no feature {feature!r}; it has {', '.join(self.feature_names)}"
            )
        return self.feature_names.index(feature)

    def label(self, feature: str) -> str:
        """Return the feature's name with its unit, as an axis label."""
        unit = self.units[self.column(feature)]
        return f"{feature} ({unit})" if unit else feature


@dataclass(frozen=True)
class Split:
    """Training and test part of a data set.

    Attributes
    ----------
    X_train, X_test : ndarray, shape (n_train, features) and (n_test, features)
        Inputs.
    y_train, y_test : ndarray, shape (n_train,) and (n_test,)
        Targets.
    train, test : ndarray of int
        Positions of the rows in the data set.
    """

    X_train: np.ndarray
    X_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray
    train: np.ndarray
    test: np.ndarray

    def standardised(self) -> Split:
        """Return the split with inputs of mean 0 and standard deviation 1 *on the training part*.

        The test part is transformed with the training part's mean and deviation: it must not
        leak into the fit.
        """
        # scikit-learn is imported where it is used: importing this module must stay cheap.
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(self.X_train)
        return replace(
            self, X_train=scaler.transform(self.X_train), X_test=scaler.transform(self.X_test)
        )


def wine(colour: str = "white") -> Dataset:
    """Load the UCI wine quality data of one colour.

    Physicochemical measurements of Portuguese *vinho verde*; the target is the median of at least
    three tasters' grades, an integer from 0 (very bad) to 10 (excellent), returned as a float.

    Parameters
    ----------
    colour : {"white", "red"}
        4,898 white or 1,599 red wines.

    Returns
    -------
    Dataset
        `X` of shape (n, 11).

    Raises
    ------
    ValueError
        If the colour is unknown.
    DataError
        If the file is missing or its content is not the published one.

    References
    ----------
    P. Cortez, A. Cerdeira, F. Almeida, T. Matos, J. Reis: Modeling wine preferences by data mining
    from physicochemical properties. Decision Support Systems 47(4), 2009.
    https://doi.org/10.24432/C56S3T
    """
    if colour not in _WINE_SHA256:
        raise ValueError(f"unknown wine colour {colour!r}; expected 'white' or 'red'")
    content = _verified(DATASETS / f"winequality-{colour}.csv", _WINE_SHA256[colour])
    header, *lines = content.decode("ascii").splitlines()
    names = tuple(name.strip('"') for name in header.split(";"))
    table = np.array([line.split(";") for line in lines], dtype=float)
    return Dataset(
        name=f"{colour} wine",
        X=table[:, :-1],
        y=table[:, -1],
        feature_names=names[:-1],
        units=tuple(_WINE_UNITS[name] for name in names[:-1]),
        target_name="quality",
        class_names=(),
        source="UCI Machine Learning Repository, Wine Quality, https://doi.org/10.24432/C56S3T",
        licence="CC BY 4.0",
        credit="P. Cortez, A. Cerdeira, F. Almeida, T. Matos and J. Reis (2009)",
    )


def iris() -> Dataset:
    """Load Fisher's iris data: four measurements of 150 flowers of three species.

    Returns
    -------
    Dataset
        `X` of shape (150, 4) in centimetres, `y` of shape (150,) with classes 0, 1, 2.

    References
    ----------
    R. A. Fisher: The use of multiple measurements in taxonomic problems. Annals of Eugenics 7(2),
    1936.  The copy is scikit-learn's.
    """
    from sklearn.datasets import load_iris

    bunch = load_iris()
    return Dataset(
        name="iris",
        X=bunch.data,
        y=bunch.target,
        feature_names=tuple(name.removesuffix(" (cm)") for name in bunch.feature_names),
        units=("cm",) * 4,
        target_name="species",
        class_names=tuple(str(name) for name in bunch.target_names),
        source="scikit-learn's copy of the UCI Machine Learning Repository's Iris, "
        "https://doi.org/10.24432/C56C76",
        licence="CC BY 4.0",
        credit="E. Anderson (1935) measured the flowers; R. A. Fisher (1936) published them",
    )


def digits() -> Dataset:
    """Load scikit-learn's handwritten digits: 1,797 images of 8 by 8 pixels.

    The images are the source's test set.  Thirteen people wrote them, but the file does not say
    who wrote which: a random split has every hand on both sides.

    Returns
    -------
    Dataset
        `X` of shape (1797, 64), row by row of the image: dark pixels of the 4 by 4 that each entry
        covers in the original scan, from 0 (blank) to 16 (black).  `y` of shape (1797,) with the
        digits 0 to 9.

    References
    ----------
    E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. UCI Machine Learning
    Repository, 1998.  https://doi.org/10.24432/C50P49
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return Dataset(
        name="digits",
        X=bunch.data,
        y=bunch.target,
        feature_names=tuple(bunch.feature_names),
        units=("",) * 64,
        target_name="digit",
        class_names=tuple(str(name) for name in bunch.target_names),
        source="scikit-learn's copy of the test set of the UCI Machine Learning Repository's "
        "Optical Recognition of Handwritten Digits, https://doi.org/10.24432/C50P49",
        licence="CC BY 4.0",
        credit="E. Alpaydin and C. Kaynak (1998)",
    )


def split(dataset: Dataset, kind: str, *, test_fraction: float = 0.15, seed: int) -> Split:
    """Split a data set into a training and a test part.

    Parameters
    ----------
    dataset : Dataset
        What to split.
    kind : {"random", "deduplicated"}
        "random" shuffles all rows, as most tutorials do: a row and its exact duplicate may land on
        different sides.  "deduplicated" keeps the first of each set of equal rows and shuffles
        those: no row of one side has a twin on the other.
    test_fraction : float in (0, 1)
        Share of the rows that go to the test part.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    Split
        Shuffled parts.

    Raises
    ------
    ValueError
        If the kind is unknown, the fraction is outside (0, 1), or a part would be empty.
    """
    if kind not in ("random", "deduplicated"):
        raise ValueError(f"unknown split {kind!r}; expected 'random' or 'deduplicated'")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must be between 0 and 1, got {test_fraction!r}")
    rows = np.arange(len(dataset)) if kind == "random" else dataset.first_of_group
    n_test = round(test_fraction * len(rows))
    if not 0 < n_test < len(rows):
        raise ValueError(
            f"test_fraction={test_fraction!r} of {len(rows)} rows leaves one part empty; "
            "choose a fraction that gives both parts at least one row"
        )
    shuffled = np.random.default_rng(seed).permutation(rows)
    return _take(dataset, train=shuffled[n_test:], test=shuffled[:n_test])


def cross_validation(dataset: Dataset, *, folds: int, repeats: int, seed: int) -> Iterator[Split]:
    """Yield the splits of a repeated, stratified cross-validation of a classification data set.

    Parameters
    ----------
    dataset : Dataset
        A classification data set.
    folds, repeats : int
        Number of folds, and how often the data are shuffled anew.
    seed : int
        Seed of the shuffles.

    Yields
    ------
    Split
        `folds * repeats` splits; each row is in the test part of one split per repeat.
    """
    from sklearn.model_selection import RepeatedStratifiedKFold

    folding = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed)
    for train, test in folding.split(dataset.X, dataset.y):
        yield _take(dataset, train=train, test=test)


def _take(dataset: Dataset, *, train: np.ndarray, test: np.ndarray) -> Split:
    return Split(
        X_train=dataset.X[train],
        X_test=dataset.X[test],
        y_train=dataset.y[train],
        y_test=dataset.y[test],
        train=train,
        test=test,
    )


def _verified(path: Path, sha256: str) -> bytes:
    """Return the file's content if it is the published one."""
    mend = f"restore it with `git checkout -- {path.name}` in its folder, or reinstall the package"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; {mend}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path} is damaged or was edited: {len(content):,} bytes with SHA-256 {found}, "
            f"expected {sha256}; {mend}"
        )
    return content


def _refuse_non_finite(
    name: str, X: np.ndarray, y: np.ndarray, feature_names: tuple[str, ...]
) -> None:
    bad = np.argwhere(~np.isfinite(np.column_stack([X, y])))
    if len(bad):
        row, column = bad[0]
        what = (*feature_names, "the target")[column]
        raise DataError(
            f"{name}: {len(bad)} non-finite value(s), the first in row {row}, {what}; "
            "drop or impute them before you build the data set"
        )
