"""Plain River: learners with their defaults, and River's own samplers as documented.

They see Weir's features under the same label delay and learn every label that comes. Nothing
corrects their probabilities.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from river import ensemble, forest, imblearn, linear_model, preprocessing, tree

from benchmarks.ranking.described import Described
from benchmarks.ranking.streams import Floats

_DOCUMENTED = {False: 0.4, True: 0.6}
"""The class shares in the examples of River's documentation."""


def _linear() -> Any:
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def _forest(seed: int) -> Any:
    return forest.ARFClassifier(n_models=10, seed=seed)


def _leveraging(seed: int) -> Any:
    return ensemble.LeveragingBaggingClassifier(tree.HoeffdingTreeClassifier(), seed=seed)


RIVERS: dict[str, Callable[[int], Any]] = {
    "River logistic regression": lambda _: _linear(),
    "River ARF(10)": _forest,
    "River leveraging bagging(10)": _leveraging,
    "River RandomUnderSampler(logistic)": lambda seed: imblearn.RandomUnderSampler(
        _linear(), desired_dist=_DOCUMENTED, seed=seed
    ),
    "River RandomOverSampler(logistic)": lambda seed: imblearn.RandomOverSampler(
        _linear(), desired_dist=_DOCUMENTED, seed=seed
    ),
    "River RandomSampler(logistic)": lambda seed: imblearn.RandomSampler(
        _linear(), desired_dist=_DOCUMENTED, sampling_rate=0.8, seed=seed
    ),
    "River RandomUnderSampler(ARF)": lambda seed: imblearn.RandomUnderSampler(
        _forest(seed), desired_dist=_DOCUMENTED, seed=seed
    ),
    "River RandomOverSampler(ARF)": lambda seed: imblearn.RandomOverSampler(
        _forest(seed), desired_dist=_DOCUMENTED, seed=seed
    ),
    "River RandomSampler(ARF)": lambda seed: imblearn.RandomSampler(
        _forest(seed), desired_dist=_DOCUMENTED, sampling_rate=0.8, seed=seed
    ),
}
"""By row name: functions of a seed."""


def run(
    described: Described, model: Any, progress: Callable[[int], None] = lambda _: None
) -> tuple[Floats, float]:
    """Score and learn a stream in order; return scores, shape (n,), and microseconds per row.

    Only rows that are graded are scored, since a prediction changes nothing; the cost is that of
    scoring and learning each row, as if all had been. `progress` gets the rows done.
    """
    stream, names = described.stream, described.names
    graded = stream.graded
    scores = np.zeros(len(stream))
    frauds = labels = 0
    scoring = learning = 0.0
    for step in described.steps:
        begun = time.process_time()
        told = stream.labelled if step.labels else graded
        rows = np.flatnonzero(told[step.first : step.last]) + step.first
        of_rows = zip(rows.tolist(), described.features[rows].tolist(), strict=True)
        if step.labels:
            for row, values in of_rows:
                model.learn_one(dict(zip(names, values, strict=True)), bool(stream.labels[row]))
            frauds += int(stream.labels[rows].sum())
            labels += len(rows)
            learning += time.process_time() - begun
        else:
            # What has learned nothing yet has nothing to say: the share of frauds so far stands in.
            prior = (frauds + 0.5) / (labels + 1.0)
            for row, values in of_rows:
                said = model.predict_proba_one(dict(zip(names, values, strict=True)))
                scores[row] = said.get(True, 0.0) if said else prior
            scoring += time.process_time() - begun
            progress(step.last)
    each = scoring / max(int(graded.sum()), 1) + learning / len(stream)
    return scores, 1e6 * each + described.microseconds
