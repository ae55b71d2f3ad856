"""Tables made harder on purpose: classes thinned, labels that never come, labels that are wrong."""

from __future__ import annotations

from dataclasses import dataclass

from producers.labels import coins
from stream.events import Transaction


@dataclass(frozen=True, slots=True)
class Distortion:
    """What is taken from a table and from its labels, by coins that every run throws alike.

    A coin is a hash of transaction id and seed, so it depends neither on order nor on chunks, and
    what a smaller share keeps a larger one keeps too. The coins of the labels that come are those
    of `weir-produce --label-fraction`.

    >>> spoiled = Distortion(label_fraction=0.7, seed=1)
    >>> spoiled.spoils_labels
    True
    """

    seed: int
    keep_frauds: float = 1.0
    keep_legitimate: float = 1.0
    label_fraction: float = 1.0
    """Share of the transactions that ever get a label."""
    wrong_labels: float = 0.0
    """Share of the labels, of either class, that say the opposite of the truth."""

    @property
    def spoils_labels(self) -> bool:
        """Whether labels can differ from the truth, or be missing."""
        return self.label_fraction < 1 or self.wrong_labels > 0

    def keeps(self, transaction_id: str, is_fraud: bool | None) -> bool:
        """Whether a transaction is in the stream at all."""
        rate = self.keep_frauds if is_fraud else self.keep_legitimate
        return rate >= 1 or self._coin(transaction_id, b"thin") < rate

    def label(self, tx: Transaction, is_fraud: bool) -> bool | None:
        """Return the label that a transaction gets; None: none, ever."""
        id_ = tx.transaction_id
        if self.label_fraction < 1 and self._coin(id_) >= self.label_fraction:
            return None
        if self.wrong_labels > 0 and self._coin(id_, b"wrong") < self.wrong_labels:
            return not is_fraud
        return is_fraud

    def _coin(self, transaction_id: str, of: bytes = b"") -> float:
        return coins(transaction_id, self.seed, of)[0]


def keep_rate(kind: str, there: int, other: int, wanted: float) -> float:
    """Return the share to keep of a class of `there`, so that it stands to `other` as wanted.

    `wanted` is members of this class per member of the other. Raises `ValueError` where there are
    too few to begin with.

    >>> keep_rate("frauds", there=100, other=10_000, wanted=1 / 200)
    0.5
    """
    rate = wanted * other / there if there else 0.0
    if not 0 < rate <= 1:
        raise ValueError(
            f"{there:,} {kind} to {other:,} others are fewer than that already: nothing to thin"
        )
    return rate
