"""How much of what could be learned is learned, where time is short."""

from __future__ import annotations

_HALF_LIFE = 20_000.0
"""In transactions: fits of the background come in bursts."""
_LEAST = 0.01
"""Learning goes on, whatever it costs."""


class LearningBudget:
    """Thins legitimate examples so that learning takes no more of a worker's time than it may.

    Examples are drawn at random, each carrying one over its rate as its weight, so that drawing
    fewer makes what is learned coarser and not biased; frauds are all kept. What an example costs
    and how many of a transaction's time would come unthinned are decayed means, so the share that
    fits the budget is known at once and does not swing. A worker that is not behind has the time:
    then nothing is thinned.

    Parameters
    ----------
    budget_us
        Microseconds of processor time per transaction; None: no bound.

    Examples
    --------
    A tenth of the transactions would be examples, and each costs a millisecond:

    >>> budget = LearningBudget(20.0)
    >>> for _ in range(50):
    ...     examples = round(100 * budget.thinning)
    ...     budget.spent(1_000, examples, 0.001 * examples, behind=True)
    >>> round(budget.thinning, 2)
    0.2
    >>> budget.spent(1_000, 20, 0.02, behind=False)
    >>> budget.thinning
    1.0
    """

    def __init__(self, budget_us: float | None) -> None:
        self.budget_us = budget_us
        self.thinning = 1.0
        """Share of the legitimate examples that are drawn now, of those that would be."""
        self._transactions = self._wanted = self._examples = self._seconds = 0.0

    @property
    def cost_us(self) -> float:
        """Microseconds that learning took per transaction, of late."""
        return 1e6 * self._seconds / max(self._transactions, 1.0)

    def spent(self, transactions: int, examples: int, seconds: float, *, behind: bool) -> None:
        """Take in what was decided and learned since the last call, and what the learning took."""
        decay = 0.5 ** (transactions / _HALF_LIFE)
        self._transactions = self._transactions * decay + transactions
        self._examples = self._examples * decay + examples
        self._wanted = self._wanted * decay + examples / self.thinning
        self._seconds = self._seconds * decay + seconds
        self.thinning = 1.0
        if self.budget_us is None or not behind or not self._seconds or not self._examples:
            return
        wanted_us = self.cost_us * self._wanted / self._examples
        self.thinning = min(max(self.budget_us / wanted_us, _LEAST), 1.0)
