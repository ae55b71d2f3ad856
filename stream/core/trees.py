"""Trees fitted to rebalanced examples, and a fit that is due."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import xgboost
from numpy.typing import NDArray

from stream.core.placed import Columns
from stream.core.prediction import predicted
from stream.core.resample import resample

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.float32]

_TREES = 60
_PARAMETERS = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "max_depth": 5,
    "eta": 0.12,
    "lambda": 2.0,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    # Drawn from both classes evenly (`_evenly`), so many bins lose nothing against twice as many.
    "max_bin": 128,
    # The same trees in every worker, whatever its number of cores.
    "nthread": 1,
}
_BINNING: Any = {name: _PARAMETERS[name] for name in ("max_bin", "nthread")}
_BINNED_BY = 2_000
"""Rows of each class whose quantiles bound the bins, at most."""
_UNREADABLE = (zlib.error, msgspec.MsgspecError, ValueError, RecursionError)
_MAX_BYTES = 16 * 1024 * 1024
"""Of trees unpacked, at most: they have a hundredth of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A fit that is due: examples, and how trees are fitted to them. Calling it does it.

    Parameters
    ----------
    names
        Of the features.
    features, frauds, weights
        Examples, shape (n, d), their labels and how many transactions each stands for, shapes (n,).
    strategy, target_share
        How they are rebalanced.
    seed
        Of the sampling and the trees.
    scores
        Probabilities of fraud that a strategy may go by, shape (n,).
    """

    names: tuple[Any, ...]
    features: Rows
    frauds: Bools
    weights: Floats
    strategy: str
    target_share: float
    seed: int
    scores: Floats | None = None

    def __call__(self) -> Trees:
        # Chance picks columns by their place: in the order of names, it picks the same ones always.
        order = sorted(range(len(self.names)), key=lambda i: str(self.names[i]))
        rng = np.random.default_rng(self.seed)
        x, y, w, factor = resample(
            self.strategy,
            self.features[:, order],
            self.frauds,
            self.weights,
            self.target_share,
            rng,
            scores=self.scores,
        )
        cuts = xgboost.QuantileDMatrix(x[_evenly(y, rng)], **_BINNING)
        data = xgboost.QuantileDMatrix(x, y, weight=w, ref=cuts, **_BINNING)
        booster = xgboost.train(_PARAMETERS | {"seed": self.seed}, data, _TREES)
        return Trees(booster, tuple(self.names[i] for i in order), factor)

    def digest(self, made_with: str = "") -> str:
        """Return a digest of all that the trees follow from, and of what fits them.

        `made_with` are versions that the digest is to tell apart besides that of XGBoost.

        >>> x, y, w = np.eye(2, dtype=np.float32), np.array([True, False]), np.ones(2)
        >>> fits = [Fit(("a", "b"), x, y, w, "none", 0.1, seed) for seed in (1, 1, 2)]
        >>> a, same, other = (fit.digest() for fit in fits)
        >>> a == same, a == other
        (True, False)
        """
        how = (made_with, xgboost.__version__, _PARAMETERS, _TREES, _BINNED_BY)
        found = hashlib.sha256(
            repr((how, self.names, self.strategy, self.target_share, self.seed)).encode()
        )
        for array in (self.features, self.frauds, self.weights, self.scores):
            if array is not None:
                found.update(f"{array.dtype}{array.shape}".encode())
                found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


class Trees:
    """Fitted trees, and what the rebalancing has done to their odds."""

    def __init__(
        self, booster: xgboost.Booster, names: tuple[Any, ...], odds_factor: float
    ) -> None:
        self.booster = booster
        self.names = names
        self.odds_factor = odds_factor
        self._columns = Columns(names)

    def __reduce__(self) -> tuple[Any, ...]:  # and nothing that follows from them
        return Trees, (self.booster, self.names, self.odds_factor)

    def to_bytes(self) -> bytes:
        """Return them packed, to the bit."""
        head = msgspec.json.encode((self.names, self.odds_factor))
        return zlib.compress(head + b"\n" + self.booster.save_raw("ubj"), 1)

    @classmethod
    def from_bytes(cls, packed: bytes) -> Trees:
        """Return what `to_bytes` packed. Raises ValueError where that is something else."""
        try:
            unpacking = zlib.decompressobj()
            head, newline, body = unpacking.decompress(packed, _MAX_BYTES).partition(b"\n")
            if not newline or not unpacking.eof:
                raise ValueError("not whole")
            names, odds_factor = msgspec.json.decode(head, type=tuple[list[str], float])
            if not body.startswith(b"{"):  # of what is empty, XGBoost dies
                raise ValueError("nothing behind the names")
            booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(body))
            if booster.num_features() != len(names):
                raise ValueError(f"trees of {booster.num_features()} features, and {len(names)}")
            trees = cls(booster, tuple(names), odds_factor)
            found = trees.probabilities(trees.names, np.zeros((1, len(names)), dtype=np.float32))
            if found.shape != (1,) or not (0.0 <= found[0] <= 1.0 and trees.odds_factor > 0.0):
                raise ValueError("they give no probability")
            return trees
        except (*_UNREADABLE, xgboost.core.XGBoostError) as error:
            raise ValueError(f"no trees: {error}") from error

    def probabilities(self, names: tuple[Any, ...], rows: Rows) -> Floats:
        """Return the probability of fraud of rows with these columns, shape (n,)."""
        if not len(rows):
            return np.empty(0)
        found = predicted(self.booster, self._columns.placed(names, rows)).astype(np.float64)
        odds = found * self.odds_factor
        probabilities: Floats = odds / (odds + 1.0 - found)
        return probabilities


def _evenly(y: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.intp]:
    """Pick rows of both classes to bound the bins by: where frauds lie, a split has to be fine."""
    return np.sort(
        np.concatenate(
            [rng.permutation(np.flatnonzero(y == each))[:_BINNED_BY] for each in (False, True)]
        )
    )
