"""One number added to log-odds, so that scores are right on average."""

from __future__ import annotations

import math

from stream.core.rates import F

_START = 10.0
"""Information (sum of p (1 - p)) that the start at 0 is worth: about as many frauds."""
_MOST = 3.0
"""Log-odds, either way."""


class Offset:
    """Follows the log-odds that scores lack, by decayed Newton steps on the log loss.

    ``c += u (y - p) / I`` with ``I = decayed sum of u p (1 - p)``, where u is what the example
    stands for and p the score with c in it: Platt scaling (1999) with slope one, online.

    Parameters
    ----------
    half_life
        Of the information, in transactions.

    Examples
    --------
    >>> offset = Offset(half_life=10_000)
    >>> for i in range(20_000):
    ...     offset.learn(offset.applied(0.05), is_fraud=i % 100 == 0, weight=1.0)
    >>> round(offset.applied(0.05), 2)
    0.01
    """

    def __init__(self, half_life: float) -> None:
        self.log_odds = 0.0
        self._information = _START
        self._decay = 0.5 ** (1.0 / half_life)
        self._factor = 1.0

    def learn(self, score: float, *, is_fraud: bool, weight: float) -> None:
        """Take in one score, as `applied` gave it before the label was known."""
        if not 0.0 <= score <= 1.0:
            return
        self._information *= self._decay**weight
        self._information += weight * score * (1.0 - score) + 1e-12
        step = weight * (is_fraud - score) / max(self._information, 1.0)
        # No step is longer than one: a few heavy examples must not throw it about.
        self.log_odds += min(max(step, -1.0), 1.0)
        self.log_odds = min(max(self.log_odds, -_MOST), _MOST)
        self._factor = math.exp(self.log_odds)

    def applied(self, score: F) -> F:
        """Return a score, or an array of them, with the offset added to its log-odds."""
        odds = score * self._factor
        return odds / (odds + 1.0 - score)
