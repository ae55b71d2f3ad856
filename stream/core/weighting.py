"""Samplers that hand a weight to the classifier: class weights, hard examples, and none at all."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from river import base, compose

from stream.core.oversampling import MAX_REPLICAS, check_replicas
from stream.core.rebalance import FeatureDict, Label, Sampler, sampling_rate, share_of_fraud


def takes_weight(classifier: base.Estimator) -> bool:
    """Whether `learn_one` of the classifier, or of the last step of a pipeline, declares a `w`.

    ``**kwargs`` does not count: River's ensembles take them and ignore a weight.

    >>> from river import linear_model, naive_bayes, preprocessing
    >>> takes_weight(preprocessing.StandardScaler() | linear_model.LogisticRegression())
    True
    >>> takes_weight(naive_bayes.GaussianNB())
    False
    """
    if isinstance(classifier, compose.Pipeline):
        return takes_weight(list(classifier.steps.values())[-1])
    learn_one = getattr(classifier, "learn_one", None)
    return learn_one is not None and "w" in inspect.signature(learn_one).parameters


def check_takes_weight(classifier: base.Estimator, who: str) -> None:
    """Raise TypeError unless the classifier learns with a weight."""
    if not takes_weight(classifier):
        raise TypeError(
            f"{who} hands weights to its classifier, and {type(classifier).__name__}.learn_one "
            "declares no argument `w`: give one that does (a linear model, a Hoeffding tree), or "
            "take a sampler that repeats or drops examples (under, over, hybrid)"
        )


def _learn_weighted(
    classifier: Any, x: FeatureDict, y: Label, weight: float, kwargs: Mapping[str, Any]
) -> float:
    """Learn with a weight, and return it."""
    classifier.learn_one(x, y, w=weight, **kwargs)
    return weight


class Unsampled(Sampler):
    """Changes nothing but what a weight means: a thinned log is learned as if it were whole.

    An example of weight w counts as w. A classifier that takes a weight is given w, because one
    weighted update costs what a plain one does, and Poisson copies would give back what thinning
    has saved. A classifier that takes none learns the example floor(w) times and once more with
    probability w - floor(w): right on average like a Poisson number, with less variance, and just
    once at w = 1. What a weight above `max_replicas` exceeds it by is made up for in the odds.

    The yardstick for all other samplers. Learning with w in place of w examples: Beygelzimer,
    Dasgupta and Langford, "Importance weighted active learning" (ICML 2009).

    Parameters
    ----------
    classifier
        A binary classifier; labels are False and True, or 0 and 1.
    half_life
        Of the rates, in labels.
    seed
        Of the fractions.
    max_replicas
        The largest weight, or number of copies: a gradient step of 300 examples in one overshoots.

    Examples
    --------
    Half of the legitimate examples are left, with weight 2:

    >>> from river import dummy
    >>> model = Unsampled(dummy.PriorClassifier(), seed=1)
    >>> for i in range(10_000):
    ...     model.learn_one({}, i % 50 == 0, w=1.0 if i % 50 == 0 else 2.0)
    >>> round(model.predict_proba_one({})[True], 4)
    0.0101
    """

    def __init__(
        self,
        classifier: base.Classifier,
        half_life: float = 50_000,
        seed: int | None = None,
        *,
        max_replicas: int = MAX_REPLICAS,
    ) -> None:
        super().__init__(classifier, half_life=half_life, seed=seed)
        check_replicas(max_replicas)
        self.max_replicas = max_replicas
        self._by_weight = takes_weight(classifier)

    def _amount(self, x: FeatureDict, is_fraud: bool, w: float) -> float:  # noqa: ARG002
        return min(w, self.max_replicas)

    def _learn(self, x: FeatureDict, y: Label, amount: float, kwargs: Mapping[str, Any]) -> float:
        if not self._by_weight:
            return super()._learn(x, y, amount, kwargs)
        return _learn_weighted(self.classifier, x, y, amount, kwargs)


_LARGEST_STEP = 2.0
"""Weight of one update of a classifier, at most."""


class Weighted(Sampler):
    """Gives each class a weight, so that frauds are the target share of what is learned.

    With decayed counts, a legitimate example weighs ``(1 - s) * examples / transactions of its
    class`` and a fraud ``s * examples / transactions of its class``, each times w: weights are one
    on average, so that the classifier's steps keep their size whatever the prior is and however
    thin the log. At s = 1/2 these are the "balanced" weights of scikit-learn. The odds are
    corrected by the ratio of the weights that were given.

    A weight above 2 is learned in equal parts of at most 2: one gradient step of weight 15
    overshoots where 8 of weight 2 do not (Karampatziakis and Langford, "Online importance weight
    aware updates", UAI 2011, whose updates are the limit of that). To a tree it is all the same.

    Nothing is dropped: about one update per example, at full cost. After Elkan, "The
    foundations of cost-sensitive learning" (IJCAI 2001).

    Parameters
    ----------
    classifier
        A binary classifier whose `learn_one` declares `w`; labels are False and True, or 0 and 1.
        Any other raises a TypeError.
    target_share
        Share of frauds aimed at in the weight that is learned.
    half_life
        Of the class prior and the rates, in labels.
    seed
        Not used; every sampler takes one.
    max_weight
        Of one example, at most.

    Examples
    --------
    >>> from river import linear_model
    >>> model = Weighted(linear_model.LogisticRegression(), target_share=0.2, half_life=2000)
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
        max_weight: float = MAX_REPLICAS,
    ) -> None:
        super().__init__(classifier, target_share, half_life, seed)
        check_takes_weight(classifier, type(self).__name__)
        if not max_weight > 0.0:
            raise ValueError(f"max_weight is {max_weight!r}: give a number above 0")
        self.max_weight = max_weight

    def _amount(self, x: FeatureDict, is_fraud: bool, w: float) -> float:  # noqa: ARG002
        rates = self._rates
        examples = rates.legitimate_examples + rates.fraud_examples
        if is_fraud:
            weight = self.target_share * examples / rates.fraud_transactions
        else:
            weight = (1.0 - self.target_share) * examples / rates.legitimate_transactions
        return min(weight * w, self.max_weight)

    def _learn(self, x: FeatureDict, y: Label, amount: float, kwargs: Mapping[str, Any]) -> float:
        parts = math.ceil(amount / _LARGEST_STEP)
        for _ in range(parts):
            _learn_weighted(self.classifier, x, y, amount / parts, kwargs)
        return amount


EASIEST, HARDEST = 0.25, 8.0
"""Least and most relative rate at which a legitimate example is kept."""
_SCORED = 500
"""Scores over which their mean is taken."""


class HardExamples(Sampler):
    """Undersamples the majority where it is easy, and keeps what the classifier takes for fraud.

    With r the rate of plain undersampling and p the classifier's own probability of fraud, a
    legitimate example is kept with probability ``q = min(1, r w h)``, where ``h = p / mean p``,
    held between 1/4 and 8, and learned with weight ``r w / q``, at most 4: on average what
    undersampling would have learned (Horvitz and Thompson, 1952), from fewer easy examples and more
    of those at the border. Chance drops all but a share 8 r w before the score is asked for, so
    that most cost no score. Frauds are all learned.

    Sampling by the surprise of a pilot model is local case-control sampling (Fithian and Hastie,
    Annals of Statistics 42, 2014), which subtracts the pilot's logit afterwards; the weight does
    without a pilot that stands still. In deep learning, without a correction: Shrivastava et al.,
    "Training region-based object detectors with online hard example mining" (CVPR 2016).

    Parameters
    ----------
    classifier
        A binary classifier whose `learn_one` declares `w`; labels are False and True, or 0 and 1.
        Any other raises a TypeError: copies in place of weights would undo the sampling.
    target_share
        Share of frauds aimed at in the weight that is learned.
    half_life
        Of the class prior and the rates, in labels.
    seed
        Of the sampling.

    Examples
    --------
    >>> from river import linear_model
    >>> model = HardExamples(linear_model.LogisticRegression(), 0.2, half_life=2000, seed=1)
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
    ) -> None:
        super().__init__(classifier, target_share, half_life, seed)
        check_takes_weight(classifier, type(self).__name__)
        self._mean_score = 0.5
        self._scored = 0

    def _amount(self, x: FeatureDict, is_fraud: bool, w: float) -> float:
        if is_fraud:
            return 1.0
        intended = sampling_rate(self._rates.prior, self.target_share) * w
        draw = self._rng.random()
        if draw >= intended * HARDEST:
            return 0.0
        kept = min(1.0, intended * self._hardness(x))
        return min(intended / kept, 1.0 / EASIEST) if draw < kept else 0.0

    def _hardness(self, x: FeatureDict) -> float:
        score = share_of_fraud(self.classifier.predict_proba_one(x))
        self._scored = min(self._scored + 1, _SCORED)
        self._mean_score += (score - self._mean_score) / self._scored
        return hardness(score, self._mean_score)

    def _learn(self, x: FeatureDict, y: Label, amount: float, kwargs: Mapping[str, Any]) -> float:
        return _learn_weighted(self.classifier, x, y, amount, kwargs)


def hardness(score: float, mean_score: float) -> float:
    """Return how much likelier than on average to keep a legitimate example of this score.

    >>> hardness(0.02, 0.01), hardness(0.9, 0.01), hardness(0.0, 0.01)
    (2.0, 8.0, 0.25)
    """
    return min(max(score / max(mean_score, 1e-12), EASIEST), HARDEST)
