"""Decayed counts of what came, what it stood for and what was learned, and the prior correction."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", float, NDArray[np.float64])
"""One number, or an array of them."""

_LEAST = 1e-9
"""No share is taken to be smaller, however long a class has not been seen, and no rate."""
_FORGOTTEN, _REMEMBERED = 1e-50, 1e-20
"""Counts below the first are set to the second: still nothing, but their ratios are kept."""


class Rates:
    """How much of each class is learned, and what that does to a probability.

    Three decayed counts per class: *transactions* (the sum of importance weights), *examples* that
    came (each one), and what was *learned* of them (copies, or weight). All start at 1/2 and decay
    alike, by half every `half_life` transactions, so that their ratios are the rates in force.

    Parameters
    ----------
    half_life
        In transactions (labels), above 0.

    Examples
    --------
    One in ten legitimate transactions is learned, and every fraud twice:

    >>> rates = Rates(half_life=10_000)
    >>> for i in range(5_000):
    ...     rates.observe(is_fraud=i % 50 == 0, weight=1.0)
    ...     rates.learn(is_fraud=i % 50 == 0, amount=2.0 if i % 50 == 0 else i % 10 == 1)
    >>> round(rates.prior, 3)
    0.02
    >>> round(rates.learned_share, 2)
    0.29
    >>> round(rates.corrected(0.29), 3)
    0.02
    """

    def __init__(self, half_life: float) -> None:
        if not 0.0 < half_life < math.inf:
            raise ValueError(f"half_life is {half_life!r}: give a number of labels above 0")
        self.half_life = half_life
        self._decay = 0.5 ** (1.0 / half_life)
        self.legitimate_transactions = self.fraud_transactions = 0.5
        self.legitimate_examples = self.fraud_examples = 0.5
        self.legitimate_learned = self.fraud_learned = 0.5

    def observe(self, *, is_fraud: bool, weight: float) -> None:
        """Count one example that stands for `weight` transactions."""
        if not 0.0 <= weight < math.inf:
            raise ValueError(
                f"an example came with weight {weight!r}: give the number of transactions it "
                "stands for, finite and at least 0"
            )
        decay = self._decay if weight == 1.0 else max(self._decay**weight, _REMEMBERED)
        self.legitimate_transactions *= decay
        self.fraud_transactions *= decay
        self.legitimate_examples *= decay
        self.fraud_examples *= decay
        self.legitimate_learned *= decay
        self.fraud_learned *= decay
        if is_fraud:
            self.fraud_transactions += weight
            self.fraud_examples += 1.0
        else:
            self.legitimate_transactions += weight
            self.legitimate_examples += 1.0
        if self.legitimate_transactions < _FORGOTTEN:
            back = _REMEMBERED / self.legitimate_transactions
            self.legitimate_transactions *= back
            self.legitimate_examples *= back
            self.legitimate_learned *= back
        if self.fraud_transactions < _FORGOTTEN:
            back = _REMEMBERED / self.fraud_transactions
            self.fraud_transactions *= back
            self.fraud_examples *= back
            self.fraud_learned *= back

    def learn(self, *, is_fraud: bool, amount: float) -> None:
        """Count so many copies of the example observed last as learned."""
        if is_fraud:
            self.fraud_learned += amount
        else:
            self.legitimate_learned += amount

    @property
    def prior(self) -> float:
        """Share of frauds among transactions, in (0, 1)."""
        return _share(self.fraud_transactions, self.legitimate_transactions)

    @property
    def learned_share(self) -> float:
        """Share of frauds in what was learned, in (0, 1)."""
        return _share(self.fraud_learned, self.legitimate_learned)

    def missing(self, target_share: float) -> float:
        """Return the factor by which the odds of a fraud among the examples miss the target.

        10: ten times as many frauds, or a tenth of the legitimate examples, would meet it.
        Below 1: there are more frauds than asked for.
        """
        share = _share(self.fraud_examples, self.legitimate_examples)
        return target_share / (1.0 - target_share) * (1.0 - share) / share

    def relative(self, *, is_fraud: bool, weight: float) -> float:
        """Return a weight in terms of the mean weight of its class: 1 where all weigh the same."""
        if is_fraud:
            return weight * self.fraud_examples / self.fraud_transactions
        return weight * self.legitimate_examples / self.legitimate_transactions

    def stands_for(self, *, is_fraud: bool) -> float:
        """Return how many transactions one example of this class stands for that is learned now.

        Frauds are never dropped, so that theirs is the mean weight with which they came.
        """
        if is_fraud:
            return self.fraud_transactions / self.fraud_examples
        return self.legitimate_transactions / max(self.legitimate_learned, 0.5)

    def corrected(self, fraud: F) -> F:
        """Return a probability of what was learned as one of the transactions.

        ``odds = odds_learned * (learned / transactions of the legitimate) / (the same of frauds)``,
        after Elkan, "The foundations of cost-sensitive learning" (IJCAI 2001), and Dal Pozzolo et
        al., "Calibrating probability with undersampling" (SSCI 2015).
        """
        rate = max(self.legitimate_learned / self.legitimate_transactions, _LEAST)
        replicas = max(self.fraud_learned / self.fraud_transactions, _LEAST)
        odds_fraud, odds_legitimate = fraud * rate, (1.0 - fraud) * replicas
        return odds_fraud / (odds_fraud + odds_legitimate)


def _share(frauds: float, legitimate: float) -> float:
    share = frauds / (frauds + legitimate)
    return min(max(share, _LEAST), 1.0 - _LEAST)
