"""Batch anchors: XGBoost, alone and with SMOTE, refitted on all labels known by then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.ranking.described import Described, Rows
from benchmarks.ranking.streams import DAY, Bools, Floats

MIN_FRAUDS = 6
"""Frauds known before the first fit: SMOTE looks at five neighbours of each."""
REFIT_DAYS = 10.0


@dataclass(frozen=True, slots=True)
class Anchor:
    """Settings of a batch learner. `smote_share` is the fraud share after SMOTE, 0 without it."""

    smote_share: float = 0.0
    n_estimators: int = 600
    max_depth: int = 5
    learning_rate: float = 0.03
    min_child_weight: float = 1.0
    subsample: float = 1.0
    colsample: float = 0.5
    extra: dict[str, Any] = field(default_factory=dict)


ANCHORS = {
    "XGBoost": Anchor(),
    "XGBoost + SMOTE": Anchor(smote_share=0.1),
}
"""By name. The trees are the best of five settings tried on the scored span of the card stream,
with hindsight, which is in their favour; they differed by 0.011 in average precision."""


def refit_seconds(span_seconds: float) -> float:
    """Return how often to refit: every ten days, on short streams every tenth of the span."""
    return REFIT_DAYS * DAY if span_seconds > 5 * REFIT_DAYS * DAY else span_seconds / 10


def run(
    described: Described,
    anchor: Anchor,
    progress: Callable[[int], None] = lambda _: None,
    seed: int = 7,
) -> tuple[Floats, float]:
    """Score a stream in order; return scores, shape (n,), and CPU microseconds per transaction.

    A fit is in force at once, though it takes minutes: in favour of the anchor, too. `progress`
    gets the rows done.
    """
    stream = described.stream
    every = refit_seconds(float(stream.times_seconds[-1] - stream.times_seconds[0]))
    begin = float(stream.times_seconds[0])
    told = np.zeros(len(stream), dtype=np.bool_)
    scores = np.zeros(len(stream))
    model: Fitted | None = None
    prior, next_fit, since = 0.5, 1, 0
    begun = time.process_time()

    def score_until(row: int) -> None:
        nonlocal since
        if row > since:
            scored = model.scores(described.features[since:row]) if model else prior
            scores[since:row] = scored
            since = row

    for step in described.steps:
        if step.labels:
            told[step.first : step.last] = stream.labelled[step.first : step.last]
        elif stream.times_seconds[step.first] >= begin + next_fit * every:
            score_until(step.first)
            progress(step.first)
            next_fit = int((stream.times_seconds[step.first] - begin) // every) + 1
            known = stream.labels[told]
            prior = float((known.sum() + 0.5) / (len(known) + 1.0))
            if known.sum() >= MIN_FRAUDS:
                model = fit(described.features[told], known, anchor, seed)
    score_until(len(stream))
    seconds = time.process_time() - begun
    return scores, 1e6 * seconds / len(stream) + described.microseconds


@dataclass(frozen=True, slots=True)
class Fitted:
    """Trees, and the factor on the odds that gives back the stream's own share of frauds."""

    booster: Any
    odds_factor: float

    def scores(self, features: Rows) -> Floats:
        """Return the probability of fraud of each row, shape (n,)."""
        given = np.asarray(self.booster.inplace_predict(features), dtype=np.float64)
        odds = given / (1.0 - given) * self.odds_factor
        return odds / (1.0 + odds)


def fit(features: Rows, frauds: Bools, anchor: Anchor, seed: int) -> Fitted:
    """Fit trees to labelled features, shape (n, k), after SMOTE where the anchor asks for it."""
    import xgboost  # noqa: PLC0415 - an optional extra, needed by these rows only

    factor, before = 1.0, float(frauds.mean())
    if _can_smote(frauds, anchor.smote_share):
        features, frauds = _smote(features, frauds, anchor.smote_share, seed)
        after = float(frauds.mean())
        factor = before / (1 - before) * (1 - after) / after
    data = xgboost.QuantileDMatrix(features, label=frauds, nthread=1)
    parameters = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_depth": anchor.max_depth,
        "learning_rate": anchor.learning_rate,
        "min_child_weight": anchor.min_child_weight,
        "subsample": anchor.subsample,
        "colsample_bytree": anchor.colsample,
        "seed": seed,
        "nthread": 1,
        **anchor.extra,
    }
    return Fitted(xgboost.train(parameters, data, anchor.n_estimators), factor)


def _can_smote(frauds: Bools, share: float) -> bool:
    """Whether at least one fraud has to be added for frauds to be this share."""
    return bool(share / (1 - share) * (~frauds).sum() >= frauds.sum() + 1)


def _smote(features: Rows, frauds: Bools, share: float, seed: int) -> tuple[Rows, Bools]:
    """Add frauds between frauds (Chawla et al. 2002), near in standard deviations."""
    from imblearn.over_sampling import SMOTE  # type: ignore[import-untyped]  # noqa: PLC0415

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    sampler = SMOTE(sampling_strategy=share / (1 - share), random_state=seed)
    more, labels = sampler.fit_resample((features - mean) / deviation, frauds)
    return (more * deviation + mean).astype(np.float32), labels.astype(np.bool_)


GRID: tuple[Anchor, ...] = tuple(
    replace(Anchor(), **change)
    for change in (
        {},
        {"n_estimators": 400, "learning_rate": 0.05},
        {"n_estimators": 200, "learning_rate": 0.1},
        {"max_depth": 4},
        {"max_depth": 7},
        {"min_child_weight": 10.0},
        {"subsample": 0.7},
        {"colsample": 0.3},
        {"colsample": 0.8},
    )
)
"""What `--tune` tries, each without SMOTE; the best of them then with `SHARES`."""
SHARES = (0.05, 0.1, 0.2, 0.5)


def said(anchor: Anchor) -> str:
    """The settings in words, for the table's notes.

    >>> said(Anchor(smote_share=0.1))[:34]
    'smote_share 0.1, n_estimators 600,'
    """
    figures = {name: value for name, value in asdict(anchor).items() if name != "extra"}
    return ", ".join(f"{name} {value:g}" for name, value in (figures | anchor.extra).items())
