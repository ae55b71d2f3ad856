"""The class prior and the samplers that learn from a milder ratio and give back probabilities."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Hashable
from typing import Any

from river import base

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


def kept(transaction_id: str, rate: float, seed: int) -> bool:
    """Whether a legitimate example is kept at this rate: a fair coin that every run throws alike.

    The coin is a hash of id and seed, so that a replay keeps what was kept before.

    >>> sum(kept(str(i), 0.1, seed=1) for i in range(10_000))
    1061
    """
    digest = hashlib.blake2b(transaction_id.encode(), digest_size=8, key=seed.to_bytes(8, "big"))
    return int.from_bytes(digest.digest(), "big") < rate * 2.0**64


class Rebalanced(base.Wrapper[base.Classifier], base.Classifier):
    """Undersamples the majority for a binary classifier, and corrects its probabilities.

    Every fraud is learned; a legitimate example with probability min(1, r w), where w is its
    weight (the inverse of the probability with which it came here) and r follows the decayed class
    prior (`sampling_rate`). What the classifier says about the thinned stream is given back as
    odds of the whole one, after Elkan (2001) and Dal Pozzolo et al. (2015):
    ``odds = odds_classifier * r / lambda``, with r and lambda the decayed shares of legitimate
    examples and frauds that were learned indeed.

    Wrap the classifier, not the pipeline: ``StandardScaler() | Rebalanced(LogisticRegression())``.

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

    def __init__(
        self,
        classifier: base.Classifier,
        target_share: float = 0.03,
        half_life: float = 50_000,
        seed: int | None = None,
    ) -> None:
        self.classifier = classifier
        self.target_share = target_share
        self.half_life = half_life
        self.seed = seed
        self._rng = random.Random(seed)
        self._seen = ClassPrior(half_life)
        self._learned = ClassPrior(half_life)

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
        return self._seen.value

    @property
    def learned_share(self) -> float:
        """Decayed share of frauds in what was learned."""
        return self._learned.value

    @property
    def sampling_rate(self) -> float:
        """Rate at which legitimate examples are kept now."""
        return sampling_rate(self._seen.value, self.target_share)

    def learn_one(self, x: FeatureDict, y: Label, w: float = 1.0, **kwargs: Any) -> None:
        is_fraud = bool(y)
        self._seen.observe(is_fraud=is_fraud, weight=w)
        learned = is_fraud or self._rng.random() < self.sampling_rate * w
        if learned:
            self.classifier.learn_one(x, y, **kwargs)
        # Decayed as the stream is, so that the rates in force are ratios of counts.
        self._learned.count(learned and not is_fraud, is_fraud, labels=w)

    def predict_proba_one(self, x: FeatureDict, **kwargs: Any) -> dict[Label, float]:
        proba = self.classifier.predict_proba_one(x, **kwargs)
        if not proba:  # a River forest that has learned nothing yet
            return {False: 1.0 - self.prior, True: self.prior}
        fraud = sum(p for y, p in proba.items() if y)
        rate = max(self._learned.legitimate / max(self._seen.legitimate, _LEAST), _LEAST)
        replicas = max(self._learned.frauds / max(self._seen.frauds, _LEAST), _LEAST)
        odds_fraud, odds_legitimate = fraud * rate, (1.0 - fraud) * replicas
        fraud = odds_fraud / (odds_fraud + odds_legitimate)
        return {False: 1.0 - fraud, True: fraud}
