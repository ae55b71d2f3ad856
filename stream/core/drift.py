"""Has the stream changed? Adaptive windows over the fraud prior, the scores and the error."""

from __future__ import annotations

import math

from river import drift

from stream.events import logit

_SCALE = 20.0
"""Log-odds from -10 to 10 become 0 to 1."""


class Drift:
    """Watches four figures of the matured examples, each with an adaptive window.

    ============ ================================================================================
    prior        logarithm of the number of transactions between two frauds
    calibration  what the scores of each example missed: frauds less the frauds expected
    error        log loss of the frauds: a pattern that the model does not know shows here
    scores       log-odds that legitimate transactions were given
    ============ ================================================================================

    ADWIN keeps the longest window in which no cut has two halves of different means: Bifet and
    Gavaldà, "Learning from time-changing data with adaptive windowing" (SDM 2007), here River's.

    Parameters
    ----------
    delta
        Chance of a false alarm per figure, were examples independent: frauds come in runs, so
        it is far below what one would accept.
    error_delta
        The same for the error: a false alarm costs some fits, and a late one frauds.

    Examples
    --------
    >>> watched = Drift()
    >>> for i in range(6_000):
    ...     is_fraud = i % (200 if i < 2_000 else 20) == 0
    ...     found = watched.learn(0.005, is_fraud, 1.0)
    ...     if found:
    ...         print(found, "after", i - 2_000)
    ...         break
    ('calibration',) after 2831
    """

    FIGURES = ("prior", "calibration", "error", "scores")

    def __init__(self, delta: float = 1e-5, error_delta: float = 0.002) -> None:
        self.delta = delta
        self.error_delta = error_delta
        self.found = dict.fromkeys(self.FIGURES, 0)
        """How often each has drifted so far."""
        self._since_fraud = 0.0
        # Frauds come one at a time: their figures are looked at with each.
        self._windows = {
            name: _adwin(
                error_delta if name == "error" else delta,
                clock=4 if name in ("prior", "error") else 32,
            )
            for name in self.FIGURES
        }

    def learn(self, score: float, is_fraud: bool, weight: float) -> tuple[str, ...]:
        """Take in a matured example with the score it was given; return what has drifted now."""
        found = []
        missed = 1.0 - score if is_fraud else -min(score * weight, 1.0)
        if self._drifted("calibration", (missed + 1.0) / 2.0):
            found.append("calibration")
        self._since_fraud += weight
        if is_fraud:
            if self._drifted("prior", math.log(self._since_fraud) / 14.0):
                found.append("prior")
            if self._drifted("error", min(-math.log(max(score, 1e-9)), 10.0) / 10.0):
                found.append("error")
            self._since_fraud = 0.0
        else:
            log_odds = min(max(logit(score), -_SCALE / 2), _SCALE / 2)
            if self._drifted("scores", log_odds / _SCALE + 0.5):
                found.append("scores")
        return tuple(found)

    def _drifted(self, name: str, value: float) -> bool:
        window = self._windows[name]
        window.update(value)  # type: ignore[no-untyped-call]
        if not window.drift_detected:
            return False
        self.found[name] += 1
        return True

    def width(self, name: str) -> int:
        """Return how many values the window of a figure holds."""
        return int(self._windows[name].width)


def _adwin(delta: float, clock: int) -> drift.ADWIN:
    return drift.ADWIN(delta=delta, clock=clock)  # type: ignore[no-untyped-call]
