"""Oversampling of frauds, and the hybrid that meets the target from both sides."""

from __future__ import annotations

import math
import random

from river import base
from river.utils.random import poisson

from stream.core.rebalance import FeatureDict, Sampler

MAX_REPLICAS = 30
"""Copies of one example, at most, unless the constructor says otherwise."""


def replicas(mean: float, most: int, rng: random.Random) -> int:
    """Draw how often to learn a fraud: at least once, `mean` times on average, `most` at most.

    One and a Poisson number of further copies, so that no fraud is ever dropped. A mean below one
    is one.

    >>> rng = random.Random(1)
    >>> [replicas(4.0, 6, rng) for _ in range(8)]
    [4, 5, 1, 4, 6, 1, 4, 2]
    """
    return 1 if mean <= 1.0 else min(1 + poisson(mean - 1.0, rng), most)


def check_replicas(max_replicas: int) -> None:
    """Raise ValueError unless at least one copy is allowed."""
    if not 1 <= max_replicas < math.inf:
        raise ValueError(f"max_replicas is {max_replicas!r}: give a whole number, at least 1")


class Oversampled(Sampler):
    """Repeats frauds until they are the target share; learns all legitimate examples that come.

    With decayed counts of the examples, ``lambda = s / (1 - s) * legitimate / frauds``, held
    between 1 and `max_replicas`; a fraud is learned ``1 + Poisson(lambda - 1)`` times. A legitimate
    example is learned once, or ``w / mean w`` times on average where weights differ: a log that was
    thinned on its way here stays as thin as it is.

    It loses nothing, and costs the most. Poisson copies come from Oza, "Online bagging and
    boosting" (SMC 2005); following decayed class sizes from Wang, Minku and Yao, "Resampling-based
    ensemble methods for online class imbalance learning" (TKDE 27, 2015).

    Parameters
    ----------
    classifier
        A binary classifier; labels are False and True, or 0 and 1.
    target_share
        Share of frauds aimed at in what is learned.
    half_life
        Of the class prior and the rates, in labels.
    seed
        Of the sampling.
    max_replicas
        Of one example, at most. The share stays below the target where the cap holds it.

    Examples
    --------
    >>> from river import dummy
    >>> model = Oversampled(dummy.PriorClassifier(), target_share=0.2, half_life=2000, seed=1)
    >>> for i in range(20_000):
    ...     model.learn_one({}, i % 50 == 0)
    >>> round(model.learned_share, 1)
    0.2
    >>> round(model.predict_proba_one({})[True], 2)
    0.02
    """

    def __init__(
        self,
        classifier: base.Classifier,
        target_share: float = 0.03,
        half_life: float = 50_000,
        seed: int | None = None,
        *,
        max_replicas: int = MAX_REPLICAS,
    ) -> None:
        super().__init__(classifier, target_share, half_life, seed)
        check_replicas(max_replicas)
        self.max_replicas = max_replicas

    def _amount(self, x: FeatureDict, is_fraud: bool, w: float) -> float:  # noqa: ARG002
        weight = self._rates.relative(is_fraud=is_fraud, weight=w)
        if not is_fraud:
            return min(weight, self.max_replicas)
        mean = min(max(self._rates.missing(self.target_share), 1.0), self.max_replicas)
        return replicas(mean * weight, self.max_replicas, self._rng)


class Hybrid(Oversampled):
    """Repeats frauds and thins the majority, each by the square root of what the target asks for.

    Where the odds of a fraud among the examples miss the target by a factor m (decayed), a fraud is
    learned ``1 + Poisson(lambda - 1)`` times with ``lambda = min(sqrt(m), max_replicas)``, and a
    legitimate example with probability ``min(1, lambda / m * w / mean w)``: what the cap takes from
    the frauds, the majority gives. At m = 100 a fraud is learned ten times, and one legitimate
    example in ten.

    Most of the information of oversampling at a fraction of its cost. Meeting halfway is the
    combination of Chawla et al., "SMOTE" (JAIR 16, 2002), section 4; the geometric split is ours.

    Parameters
    ----------
    classifier
        A binary classifier; labels are False and True, or 0 and 1.
    target_share
        Share of frauds aimed at in what is learned.
    half_life
        Of the class prior and the rates, in labels.
    seed
        Of the sampling.
    max_replicas
        Of one fraud, at most.

    Examples
    --------
    >>> from river import dummy
    >>> model = Hybrid(dummy.PriorClassifier(), target_share=0.2, half_life=2000, seed=1)
    >>> for i in range(20_000):
    ...     model.learn_one({}, i % 50 == 0)
    >>> round(model.learned_share, 1)
    0.2
    >>> round(model.predict_proba_one({})[True], 2)
    0.02
    """

    def _amount(self, x: FeatureDict, is_fraud: bool, w: float) -> float:  # noqa: ARG002
        missing = max(self._rates.missing(self.target_share), 1.0)
        mean = min(math.sqrt(missing), self.max_replicas)
        weight = self._rates.relative(is_fraud=is_fraud, weight=w)
        if is_fraud:
            return replicas(mean * weight, self.max_replicas, self._rng)
        return float(self._rng.random() < mean / missing * weight)
