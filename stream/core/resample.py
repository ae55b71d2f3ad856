"""The samplers on a window of the training log at once, for learners that are refitted."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.neighbours import between, scales, two_valued
from stream.core.oversampling import MAX_REPLICAS
from stream.core.weighting import EASIEST, HARDEST

Rows = NDArray[np.float32]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

STRATEGIES = ("none", "under", "over", "hybrid", "weights", "smote", "borderline", "hard")
"""What `resample` knows."""

_NEIGHBOURS = 5
_AROUND = 10
_LEGITIMATE = 10_000
"""Legitimate rows among which borderline-SMOTE looks for neighbours, at most."""
_BLOCK = 4_000_000
"""Distances computed at a time."""


class Resampled(NamedTuple):
    """What to fit on."""

    X: Rows
    """Rows, shape (m, d)."""
    y: Bools
    """Whether each is a fraud, shape (m,)."""
    sample_weight: Floats
    """Shape (m,)."""
    odds_factor: float
    """Odds of a model fitted on these, times this, are odds of the original stream."""


def resample(  # noqa: PLR0917 - the table, then how
    strategy: str,
    X: Rows,  # noqa: N803 - scikit-learn's names, as the learners have them
    y: Bools,
    w: Floats,
    target_share: float,
    rng: np.random.Generator,
    *,
    scores: Floats | None = None,
    max_replicas: float = MAX_REPLICAS,
) -> Resampled:
    """Return what a batch learner fits to learn as the sampler of this name would.

    With m the factor by which the odds of a fraud among the rows miss the target, and u = w over
    the mean weight of the class:

    ============ ===================================== ======================================
    strategy     legitimate rows                       frauds
    ============ ===================================== ======================================
    none         weight w                              weight w
    under        kept with min(1, u / m)               weight 1
    over         weight u                              weight u min(m, cap)
    hybrid       kept with min(1, u l / m)             weight u l, l = min(sqrt(m), cap)
    weights      their sum is (1 - s) n                their sum is s n
    smote        as hybrid                             as many synthetic ones as l adds
    borderline   as hybrid                             the same, from frauds in danger
    hard         kept with q = min(1, u h / m), where  weight 1
                 h = score / mean score in [1/4, 8],
                 weight u / m / q, at most 4
    ============ ===================================== ======================================

    m counts as 1 where it is less. A weight does for trees what copies do. Rows keep their order,
    and synthetic ones come last. Equal arguments and generator state give equal results. Without
    both classes the rows come back as they are, with weight w.

    Parameters
    ----------
    strategy
        One of `STRATEGIES`.
    X
        Rows, shape (n, d).
    y
        Whether each is a fraud, shape (n,).
    w
        Transactions that each row stands for, shape (n,), above 0.
    target_share
        Share of frauds aimed at, in (0, 1).
    rng
        Of the sampling.
    scores
        Probability of fraud of each row, shape (n,); needed by ``hard``.
    max_replicas
        Cap of what a fraud counts for.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> y = np.arange(10_000) % 100 == 0
    >>> X = rng.normal(size=(10_000, 3)).astype(np.float32)
    >>> rows, frauds, weight, factor = resample("under", X, y, np.ones(10_000), 0.1, rng)
    >>> rows.shape, int(frauds.sum())
    ((1004, 3), 100)
    >>> odds = frauds.sum() / (~frauds).sum() * factor
    >>> round(float(odds / (1 + odds)), 4)
    0.01
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy {strategy!r} is not known: give one of {', '.join(STRATEGIES)}")
    if not 0.0 < target_share < 1.0:
        raise ValueError(f"target_share is {target_share!r}: give one above 0 and below 1")
    y = np.asarray(y, dtype=np.bool_)
    frauds, legitimate = int(y.sum()), int((~y).sum())
    if strategy == "none" or not frauds or not legitimate:
        return Resampled(X, y, w, 1.0)

    missing = max(target_share / (1.0 - target_share) * legitimate / frauds, 1.0)
    mean = np.where(y, w[y].sum() / frauds, w[~y].sum() / legitimate)
    relative = w / mean
    times = 1.0
    if strategy == "over":
        times = min(missing, max_replicas)
    elif strategy in ("hybrid", "smote", "borderline"):
        times = min(math.sqrt(missing), max_replicas)

    weight = np.ones(len(y))
    keep = np.ones(len(y), dtype=np.bool_)
    if strategy == "over":
        weight = relative * np.where(y, times, 1.0)
    elif strategy == "weights":
        weight = relative * len(y) * np.where(y, target_share / frauds, 0.0)
        weight += relative * len(y) * np.where(y, 0.0, (1.0 - target_share) / legitimate)
        weight = np.minimum(weight, max_replicas)
    else:
        intended = relative * (times / missing)
        rate = intended
        if strategy == "hard":
            rate = np.minimum(intended * _hardness(scores, y), 1.0)
            weight = np.where(y, 1.0, np.minimum(intended / rate, 1.0 / EASIEST))
        keep = y | (rng.random(len(y)) < rate)
        if strategy == "hybrid":
            weight = np.where(y, relative * times, 1.0)

    X_kept, y_kept, weight = X[keep], y[keep], weight[keep]  # noqa: N806
    if strategy in ("smote", "borderline"):
        count = round((times - 1.0) * frauds)
        made = _synthetic(X[y], X_kept[~y_kept] if strategy == "borderline" else None, count, rng)
        X_kept = np.concatenate([X_kept, made])  # noqa: N806
        y_kept = np.concatenate([y_kept, np.ones(len(made), dtype=np.bool_)])
        weight = np.concatenate([weight, np.ones(len(made))])
    learned = weight[~y_kept].sum() / w[~y].sum(), weight[y_kept].sum() / w[y].sum()
    if learned[0] == 0.0:  # chance has dropped them all
        return Resampled(X, y, w, 1.0)
    return Resampled(X_kept, y_kept, weight, float(learned[0] / learned[1]))


def _hardness(scores: Floats | None, y: Bools) -> Floats:
    if scores is None or len(scores) != len(y):
        raise ValueError(
            "strategy 'hard' needs `scores`: give the probability of fraud of each row"
        )
    relative: Floats = scores / max(float(scores[~y].mean()), 1e-12)
    return np.clip(relative, EASIEST, HARDEST)


def _synthetic(frauds: Rows, legitimate: Rows | None, count: int, rng: np.random.Generator) -> Rows:
    """Return so many points between frauds (in danger, if legitimate rows are given) and others."""
    n = len(frauds)
    points = frauds.astype(np.float64)
    if legitimate is not None:
        chosen = rng.permutation(len(legitimate))[:_LEGITIMATE]
        points = np.concatenate([points, legitimate[np.sort(chosen)]])
    known = np.isfinite(points)
    holed = np.where(known, points, np.nan)
    scaled = np.where(known, points, 0.0) * scales(holed)
    whole = two_valued(holed)
    near = _nearest(scaled[:n], scaled[:n], _NEIGHBOURS)
    if not near.shape[1]:
        return frauds[np.zeros(count, dtype=np.intp)]
    from_ = np.arange(n)
    if legitimate is not None:
        hostile = (_nearest(scaled[:n], scaled, _AROUND) >= n).sum(axis=1)
        danger = np.flatnonzero((hostile >= _AROUND / 2) & (hostile < _AROUND))
        from_ = danger if len(danger) else from_
    # All start equally often, up to one.
    start = np.concatenate([np.tile(from_, count // len(from_)), rng.permutation(from_)])[:count]
    end = near[start, rng.integers(near.shape[1], size=count)]
    at = rng.random((count, 1))
    return between(points[start], points[end], at, whole).astype(np.float32)


def _nearest(queries: Floats, points: Floats, k: int) -> NDArray[np.intp]:
    """Return the k nearest points of each query, shape (n, k); all but itself, if there are fewer.

    The queries are the first of the points.
    """
    k = min(k + 1, len(points))
    found = []
    size = max(_BLOCK // max(len(points), 1), 1)
    lengths = np.einsum("ij,ij->i", points, points)
    for first in range(0, len(queries), size):
        squared = lengths - 2.0 * (queries[first : first + size] @ points.T)
        rows = np.arange(len(squared))
        squared[rows, rows + first] = -np.inf
        near = np.argpartition(squared, k - 1, axis=1)[:, :k]
        # In order, the query itself comes first.
        order = np.argsort(np.take_along_axis(squared, near, axis=1), axis=1)
        found.append(np.take_along_axis(near, order, axis=1)[:, 1:])
    return np.concatenate(found)
