"""OOB and UOB: online bagging that resamples each class by its decayed size."""

from __future__ import annotations

import abc
from typing import Any

from river import base
from river.utils.random import poisson

from stream.core.oversampling import MAX_REPLICAS, check_replicas
from stream.core.rates import Rates
from stream.core.rebalance import FeatureDict, Label, check_share, share_of_fraud


class _ClassBagging(base.WrapperEnsemble[base.Classifier], base.Classifier):
    """Every member learns an example a Poisson number of times; its class decides the rate."""

    def __init__(
        self,
        model: base.Classifier,
        n_models: int = 10,
        target_share: float = 0.5,
        half_life: float = 50_000,
        seed: int | None = None,
        *,
        max_replicas: int = MAX_REPLICAS,
        corrected: bool = True,
    ) -> None:
        check_share(target_share)
        check_replicas(max_replicas)
        super().__init__(model, n_models, seed)
        self.target_share = target_share
        self.half_life = half_life
        self.max_replicas = max_replicas
        self.corrected = corrected
        self._rates = Rates(half_life)

    @property
    def _multiclass(self) -> bool:
        return False

    @classmethod
    def _unit_test_params(cls) -> Any:
        from river import linear_model  # noqa: PLC0415 - for River's own checks only

        yield {"model": linear_model.LogisticRegression(), "n_models": 3, "seed": 1}

    @property
    def prior(self) -> float:
        """Decayed share of frauds in the stream that came here."""
        return self._rates.prior

    @property
    def learned_share(self) -> float:
        """Decayed share of frauds in what a member learned."""
        return self._rates.learned_share

    @abc.abstractmethod
    def _rate(self, *, is_fraud: bool) -> float:
        """Return lambda, the mean number of copies of an example of this class."""

    def learn_one(self, x: FeatureDict, y: Label, w: float = 1.0, **kwargs: Any) -> None:
        is_fraud = bool(y)
        self._rates.observe(is_fraud=is_fraud, weight=w)
        mean = self._rate(is_fraud=is_fraud) * self._rates.relative(is_fraud=is_fraud, weight=w)
        mean = min(mean, self.max_replicas)
        learned = 0
        for member in self:
            copies = min(poisson(mean, self._rng), self.max_replicas)
            for _ in range(copies):
                member.learn_one(x, y, **kwargs)
            learned += copies
        self._rates.learn(is_fraud=is_fraud, amount=learned / len(self))

    def predict_proba_one(self, x: FeatureDict, **kwargs: Any) -> dict[Label, float]:
        votes = [
            share_of_fraud(proba)
            for member in self
            if (proba := member.predict_proba_one(x, **kwargs))
        ]
        if not votes:
            fraud = self.prior
        else:
            fraud = sum(votes) / len(votes)
            if self.corrected:
                fraud = self._rates.corrected(fraud)
        return {False: 1.0 - fraud, True: fraud}


class OOB(_ClassBagging):
    """Oversampling-based online bagging.

    With decayed class sizes w+ (frauds) and w-, every member learns an example of the smaller class
    K ~ Poisson(lambda) times with ``lambda = w- / w+`` for a fraud (``w+ / w-`` for a legitimate
    example, should those be fewer), and one of the larger class Poisson(1) times. Scores are the
    mean of the members'.

    Wang, Minku and Yao, "Resampling-based ensemble methods for online class imbalance learning"
    (IEEE TKDE 27(5), 2015). As published: ``half_life=6.58`` (their theta is ``0.5 ** (1 /
    half_life)``, 0.9), ``target_share=0.5`` and ``corrected=False``, with no cap. What is added:
    other target shares s (lambda times ``s / (1 - s)``), the cap, weights, and the prior
    correction. At one fraud in a thousand, sizes that forget within ten labels put lambda beyond
    any cap, hence the longer half-life.

    Parameters
    ----------
    model
        The binary classifier to copy; labels are False and True, or 0 and 1.
    n_models
        Members, at least 2.
    target_share
        Share of frauds aimed at in what a member learns; 1/2 balances the classes.
    half_life
        Of the class sizes, in labels.
    seed
        Of the Poisson draws.
    max_replicas
        Of one example in one member, at most.
    corrected
        Whether scores are probabilities of the stream (the default), or of the balanced one.

    Examples
    --------
    >>> from river import dummy
    >>> model = OOB(dummy.PriorClassifier(), n_models=3, half_life=2000, seed=1, max_replicas=100)
    >>> for i in range(10_000):
    ...     model.learn_one({}, i % 20 == 0)
    >>> round(model.learned_share, 1)
    0.5
    >>> round(model.predict_proba_one({})[True], 2)
    0.05
    """

    def _rate(self, *, is_fraud: bool) -> float:
        missing = self._rates.missing(self.target_share)
        return max(missing if is_fraud else 1.0 / missing, 1.0)


class UOB(_ClassBagging):
    """Undersampling-based online bagging.

    With decayed class sizes w+ (frauds) and w-, every member learns an example of the larger class
    K ~ Poisson(lambda) times with ``lambda = w+ / w-`` for a legitimate one (``w- / w+`` for a
    fraud, should those be more), and one of the smaller class Poisson(1) times. Scores are the mean
    of the members', each of which saw other legitimate examples: what undersampling throws away,
    the ensemble keeps.

    Wang, Minku and Yao, "Resampling-based ensemble methods for online class imbalance learning"
    (IEEE TKDE 27(5), 2015). As published: ``half_life=6.58`` (their theta is ``0.5 ** (1 /
    half_life)``, 0.9), ``target_share=0.5`` and ``corrected=False``. What is added: other target
    shares s (lambda times ``s / (1 - s)``), weights, and the prior correction.

    Parameters
    ----------
    model
        The binary classifier to copy; labels are False and True, or 0 and 1.
    n_models
        Members, at least 2.
    target_share
        Share of frauds aimed at in what a member learns; 1/2 balances the classes.
    half_life
        Of the class sizes, in labels.
    seed
        Of the Poisson draws.
    max_replicas
        Of one example in one member, at most.
    corrected
        Whether scores are probabilities of the stream (the default), or of the balanced one.

    Examples
    --------
    >>> from river import dummy
    >>> model = UOB(dummy.PriorClassifier(), n_models=10, half_life=2000, seed=1)
    >>> for i in range(10_000):
    ...     model.learn_one({}, i % 20 == 0)
    >>> round(model.learned_share, 1)
    0.5
    >>> round(model.predict_proba_one({})[True], 2)
    0.05
    """

    def _rate(self, *, is_fraud: bool) -> float:
        missing = self._rates.missing(self.target_share)
        return min(missing if is_fraud else 1.0 / missing, 1.0)
