"""Features that have gone constant, or missing: a look at blocks of transactions, one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from stream.core.alarms import FEATURE_CONSTANT, FEATURE_MISSING, Finding

Rows = NDArray[np.float32]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BLOCK = 2_000
"""Transactions that are looked at together."""
_MEMORY = 64
"""Blocks that are remembered."""
_FEW_BLOCKS = 10
"""Blocks before that are needed to compare with."""
_LEAST_VARIED = 20
"""Transactions in which a feature has differed in each of those: then that none does is no chance,
e^-20 at a steady rate, and what has become rare by and by has been seen to."""
_MISSING, _BACK = 0.5, 0.25
"""Missing is a field where half of what used to have it has not, back where less than a quarter."""
_LEAST_PRESENT = 0.05
"""Share of a block that used to have it, at least."""
_TIME = ("hour_sin", "hour_cos")
"""By the clock alone: where time comes in whole hours these are constant for a while."""
_MADE_OF: Mapping[str, tuple[str, ...]] = {
    "orig_balance_missing": ("orig_balance", "amount_to_balance", "drains"),
    "dest_balance_missing": ("dest_balance", "dest_empty"),
}
"""What is constant because a field is missing: one alarm is enough."""
_TOGETHER = ("type", "orig", "dest")
_ALONE = {
    *("orig_balance", "orig_balance_missing", "dest_balance", "dest_balance_missing"),
    *("dest_empty", "dest_merchant"),
}


def subject(feature: str) -> str:
    """Return what an alarm of a feature is about: those made of one field or history share one.

    >>> subject("amount"), subject("orig_count_24h"), subject("dest_balance")
    ('amount', 'orig_*', 'dest_balance')
    """
    prefix = feature.partition("_")[0]
    return f"{prefix}_*" if prefix in _TOGETHER and feature not in _ALONE else feature


class FeatureWatch:
    """Watches the features of the transactions as they come by, from the start of a worker on.

    Rows are copied into a block; a full one is reduced to two numbers of each feature. What is out
    of the ordinary is not remembered, so that an alarm stays until the feature is back.

    Parameters
    ----------
    block
        Transactions that are looked at together.

    Examples
    --------
    >>> watch, rng = FeatureWatch(block=100), np.random.default_rng(1)
    >>> for _ in range(10):
    ...     watch.observe(("amount",), rng.random((100, 1), dtype=np.float32))
    >>> watch.observe(("amount",), np.ones((100, 1), dtype=np.float32))
    >>> [found.name for found in watch.findings()]
    ['feature_constant:amount']
    """

    def __init__(self, block: int = BLOCK) -> None:
        self.block = block
        self._names: tuple[str, ...] = ()
        self._begin(())

    def _begin(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._rows: Rows = np.empty((self.block, len(names)), dtype=np.float32)
        self._filled = 0
        self._varied: deque[Ints] = deque(maxlen=_MEMORY)
        """Transactions of each block in which a feature was not what most of them had."""
        self._means: deque[Floats] = deque(maxlen=_MEMORY)
        self._missing: set[str] = set()
        self._constant: set[str] = set()
        """What an alarm may be raised for: features, and subjects."""
        self._subjects = [subject(name) for name in names]
        self._found: dict[str, Finding] = {}
        self._is_missing = np.array([name.endswith("_missing") for name in names], dtype=np.bool_)
        self._is_time = np.array([name in _TIME for name in names], dtype=np.bool_)

    def observe(self, names: tuple[str, ...], rows: Rows) -> None:
        """Take in feature rows, shape (n, len(names))."""
        if names != self._names:
            self._begin(names)
        at = 0
        while at < len(rows):
            taken = min(len(rows) - at, self.block - self._filled)
            self._rows[self._filled : self._filled + taken] = rows[at : at + taken]
            self._filled, at = self._filled + taken, at + taken
            if self._filled == self.block:
                self._look()
                self._filled = 0

    def findings(self) -> list[Finding]:
        """Return what the blocks that were filled since the last call show: each once."""
        found, self._found = list(self._found.values()), {}
        return found

    def _look(self) -> None:
        rows = self._rows
        lowest, highest = rows.min(axis=0), rows.max(axis=0)
        varied = np.minimum((rows > lowest).sum(axis=0), (rows < highest).sum(axis=0))
        means = rows.mean(axis=0, dtype=np.float64)
        if len(self._varied) >= _FEW_BLOCKS:
            least, most = np.min(self._varied, axis=0), np.max(self._means, axis=0)
            limit = most + _MISSING * (1.0 - most)
            missing = self._is_missing & (means >= limit) & (most <= 1.0 - _LEAST_PRESENT)
            constant = (varied == 0) & (least >= _LEAST_VARIED) & ~self._is_time & ~missing
            for i in np.flatnonzero(missing | self._among(self._missing)):
                self._tell_missing(self._names[i], float(means[i]), float(most[i]))
            gone = {n for i in np.flatnonzero(missing) for n in _MADE_OF.get(self._names[i], ())}
            told = constant & ~self._among(gone)
            for about in sorted({self._subjects[i] for i in np.flatnonzero(told)} | self._constant):
                of = np.array([each == about for each in self._subjects])
                self._tell_constant(about, of & told, varied, least, lowest)
            # What is odd leaves what is remembered as it was.
            varied = np.where(constant | missing, least, varied)
            means = np.where(missing, most, means)
        self._varied.append(varied)
        self._means.append(means)

    def _among(self, features: Collection[str]) -> Bools:
        return np.array([name in features for name in self._names], dtype=np.bool_)

    def _tell_missing(self, feature: str, share: float, before: float) -> None:
        field = feature.removesuffix("_missing")
        cause = (
            f"{field} is missing in {share:.0%} of the last {self.block:,} transactions, and was "
            f"in at most {before:.0%} of them before"
        )
        gone = (share - before) / max(1.0 - before, 1e-9)
        holds = True if gone >= _MISSING else False if gone <= _BACK else None
        (self._missing.discard if holds is False else self._missing.add)(feature)
        limit = before + _MISSING * (1.0 - before)
        name = f"{FEATURE_MISSING}:{field}"
        self._found[name] = Finding(name, holds, share, limit, cause, sure=True)

    def _tell_constant(
        self, about: str, constant: Bools, varied: Ints, least: Ints, value: Rows
    ) -> None:
        """Tell whether features of one subject are constant: the one that used to vary most."""
        features = [self._names[i] for i in np.flatnonzero(constant)]
        name = f"{FEATURE_CONSTANT}:{about}"
        if not features:
            self._constant.discard(about)
            self._found[name] = Finding(name, False, 1.0, 1.0, f"{about} varies again", sure=True)
            return
        self._constant.add(about)
        most = int(np.argmax(np.where(constant, least, -1)))
        others = f" (and {len(features) - 1} other features)" if len(features) > 1 else ""
        cause = (
            f"{self._names[most]}{others} is {value[most]:.4g} in all of the last {self.block:,} "
            f"transactions, and differed in at least {least[most]:,} of them before"
        )
        self._found[name] = Finding(name, True, varied[most], least[most], cause, sure=True)
