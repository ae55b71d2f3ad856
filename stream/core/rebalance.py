"""The class prior, what all samplers share, and undersampling."""

from __future__ import annotations

import abc
import hashlib
import random
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import base

from stream.core.rates import F, Rates

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Label = bool | str | int
FeatureDict = dict[Hashable, Any]

_LEAST = 1e-9
"""A prior is never surer than this, however long one of the classes has not been seen."""


class ClassPrior:
    """Decayed share of frauds among labels: follows a prior shift within a few half-lives.

    Counts per class start at 1/2 (Jeffreys) and decay by half every `half_life` labels. An example
    of weight w stands for w labels.

    Parameters
    ----------
    half_life
        In labels.

    Examples
    --------
    >>> prior = ClassPrior(half_life=1000)
    >>> for i in range(5000):
    ...     prior.observe(is_fraud=i % 100 == 0)
    >>> round(prior.value, 3)
    0.01
    """

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self.legitimate = 0.5
        self.frauds = 0.5

    def observe(self, *, is_fraud: bool, weight: float = 1.0) -> None:
        """Count one label that stands for `weight` labels."""
        self.count(0.0 if is_fraud else weight, weight if is_fraud else 0.0, labels=weight)

    def count(self, legitimate: float, frauds: float, *, labels: float) -> None:
        """Let the counts decay by so many labels, and add to each class."""
        decay = 0.5 ** (labels / self.half_life)
        self.legitimate = self.legitimate * decay + legitimate
        self.frauds = self.frauds * decay + frauds

    def correct(self, *, is_fraud: bool, weight: float, instead_of: float) -> None:
        """Count one label that stands for `weight` in place of an older one of the other class.

        That one stood for `instead_of` labels, and is taken out as if it had come just now: what it
        has decayed meanwhile stands for the wrong ones that are yet to be corrected.
        """
        if is_fraud:
            self.frauds += weight
            self.legitimate = max(self.legitimate - instead_of, _LEAST)
        else:
            self.legitimate += weight
            self.frauds = max(self.frauds - instead_of, _LEAST)

    @property
    def value(self) -> float:
        """The share of frauds, in (0, 1)."""
        share = self.frauds / (self.frauds + self.legitimate)
        return min(max(share, _LEAST), 1.0 - _LEAST)


def sampling_rate(prior: float, target_share: float) -> float:
    """Return the rate at which to keep legitimate examples so that frauds are `target_share`.

    ``r = min(1, prior / (1 - prior) * (1 - s) / s)``: never more than all of them.

    >>> round(sampling_rate(prior=0.001, target_share=0.1), 6)
    0.009009
    >>> sampling_rate(prior=0.2, target_share=0.1)
    1.0
    """
    odds = prior / (1.0 - prior)
    return min(1.0, odds * (1.0 - target_share) / target_share)


def kept(transaction_ids: Sequence[str], rates: Floats, seed: int) -> Bools:
    """Whether each example is kept at its rate, shape (n,): fair coins that every run throws alike.

    A coin is a hash of id and seed, so that a replay keeps what was kept before.

    >>> int(kept([str(i) for i in range(10_000)], np.full(10_000, 0.1), seed=1).sum())
    1061
    """
    begun, coins = _coin(seed), []
    for transaction_id in transaction_ids:
        coin = begun.copy()
        coin.update(transaction_id.encode())
        coins.append(coin.digest())
    thrown: Bools = np.frombuffer(b"".join(coins), dtype=">u8") < rates * 2.0**64
    return thrown | (rates >= 1.0)


@lru_cache(maxsize=16)
def _coin(seed: int) -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=8, key=seed.to_bytes(8, "big"))


class Sampler(base.Wrapper[base.Classifier], base.Classifier):
    """Decides how much of each example a binary classifier learns, and corrects its probabilities.

    A sampler says how many copies of an example are learned (`_amount`); this class learns them,
    counts them (`Rates`) and gives the classifier's odds back as those of the original stream. An
    example of weight w stands for w transactions. An example that is not learned costs about a
    microsecond, a score one more than the classifier's own.

    Wrap the classifier, not the pipeline (``StandardScaler() | Rebalanced(LogisticRegression())``),
    or the scaler learns the distribution that was sampled.

    Parameters
    ----------
    classifier
        A binary classifier; labels are False and True, or 0 and 1.
    target_share
        Share of frauds aimed at in what is learned, in (0, 1).
    half_life
        Of the class prior and the rates, in labels.
    seed
        Of the sampling.
    """

    def __init__(
        self,
        classifier: base.Classifier,
        target_share: float = 0.03,
        half_life: float = 50_000,
        seed: int | None = None,
    ) -> None:
        check_share(target_share)
        self.classifier = classifier
        self.target_share = target_share
        self.half_life = half_life
        self.seed = seed
        self._rng = random.Random(seed)
        self._rates = Rates(half_life)

    @property
    def _wrapped_model(self) -> base.Classifier:
        return self.classifier

    @property
    def _multiclass(self) -> bool:
        return False

    @classmethod
    def _unit_test_params(cls) -> Any:
        from river import linear_model  # noqa: PLC0415 - for River's own checks only

        yield {"classifier": linear_model.LogisticRegression(), "seed": 1}

    @property
    def prior(self) -> float:
        """Decayed share of frauds in the stream that came here."""
        return self._rates.prior

    @property
    def learned_share(self) -> float:
        """Decayed share of frauds in what was learned."""
        return self._rates.learned_share

    def corrected(self, fraud: F) -> F:
        """Return the classifier's own probability, or an array of them, as of the whole stream."""
        return self._rates.corrected(fraud)

    @abc.abstractmethod
    def _amount(self, x: FeatureDict, is_fraud: bool, w: float) -> float:
        """Return how many copies of the example to learn now; it is counted already."""

    def _learn(self, x: FeatureDict, y: Label, amount: float, kwargs: Mapping[str, Any]) -> float:
        """Learn so many copies, a fraction by chance, and return how many they were."""
        copies = int(amount)
        if amount > copies and self._rng.random() < amount - copies:
            copies += 1
        for _ in range(copies):
            self.classifier.learn_one(x, y, **kwargs)
        return copies

    def learn_one(self, x: FeatureDict, y: Label, w: float = 1.0, **kwargs: Any) -> None:
        is_fraud = bool(y)
        self._rates.observe(is_fraud=is_fraud, weight=w)
        amount = self._amount(x, is_fraud, w)
        if amount > 0.0:
            learned = self._learn(x, y, amount, kwargs)
            self._rates.learn(is_fraud=is_fraud, amount=learned)

    def predict_proba_one(self, x: FeatureDict, **kwargs: Any) -> dict[Label, float]:
        proba = self.classifier.predict_proba_one(x, **kwargs)
        # A River forest that has learned nothing yet says nothing.
        fraud = min(self.corrected(share_of_fraud(proba)), 1.0) if proba else self.prior
        return {False: 1.0 - fraud, True: fraud}


def share_of_fraud(proba: Mapping[Any, float]) -> float:
    """Return the probability of fraud where labels are False and True, or 0 and 1, in [0, 1].

    >>> share_of_fraud({0: 0.75, 1: 0.25})
    0.25
    """
    return min(sum(p for y, p in proba.items() if y), 1.0)


def check_share(target_share: float) -> None:
    """Raise ValueError unless the share is one."""
    if not 0.0 < target_share < 1.0:
        raise ValueError(
            f"target_share is {target_share!r}: give the share of frauds to learn from, "
            "above 0 and below 1"
        )


class Rebalanced(Sampler):
    """Undersamples the majority.

    Every fraud is learned once; a legitimate example with probability ``min(1, r w)``, where r
    follows the decayed class prior (`sampling_rate`): a log that was thinned on its way here is
    thinned further, and never twice. The classifier's odds are corrected by the shares of both
    classes that were learned indeed (`Rates.corrected`).

    Cheapest, and what a slow learner gains most from. After Dal Pozzolo et al., "Calibrating
    probability with undersampling for unbalanced classification" (SSCI 2015).

    Parameters
    ----------
    classifier
        A binary classifier; labels are False and True, or 0 and 1.
    target_share
        Share of frauds aimed at in what is learned. Milder (smaller) keeps more of the majority.
    half_life
        Of the class prior and the rates, in labels.
    seed
        Of the sampling.

    Examples
    --------
    >>> from river import dummy
    >>> model = Rebalanced(dummy.PriorClassifier(), target_share=0.2, half_life=2000, seed=1)
    >>> for i in range(20_000):
    ...     model.learn_one({}, i % 50 == 0)
    >>> round(model.learned_share, 1)
    0.2
    >>> round(model.predict_proba_one({})[True], 2)
    0.02
    """

    @property
    def sampling_rate(self) -> float:
        """Rate at which legitimate transactions are kept now."""
        return sampling_rate(self._rates.prior, self.target_share)

    def _amount(self, x: FeatureDict, is_fraud: bool, w: float) -> float:  # noqa: ARG002
        return float(is_fraud or self._rng.random() < self.sampling_rate * w)
