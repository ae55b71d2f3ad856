"""Decayed history of accounts, in slots of arrays, bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.core.packing import pack, unpack

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ORIGIN, DESTINATION = 0, 1
"""Roles of an account in a transaction: each has a history of its own."""
COUNT, AMOUNT, LABELS, FRAUDS = 0, 1, 2, 3
"""What is summed, with decay, per account, role and half-life."""
_STATISTICS = 4
_NEVER = -np.inf


class Accounts:
    """Exponentially decayed sums per account and role, for several half-lives.

    A sum decays by half every half-life of event time since each thing summed, so it needs no
    window of past transactions. Labels count from the time of their transaction, however late they
    come: decay is linear, so a late term is added with the discount it would have by now.

    Parameters
    ----------
    half_lives_hours
        The half-lives, H of them.
    max_accounts
        Accounts held at most; beyond, the sixteenth that was not seen for longest is evicted.
    """

    def __init__(self, half_lives_hours: Sequence[float], max_accounts: int) -> None:
        self.half_lives_seconds = 3600.0 * np.asarray(half_lives_hours, dtype=np.float64)
        self.max_accounts = max_accounts
        self.evicted = 0
        self._slots: dict[str, int] = {}
        self._names: list[str] = []
        self._free: list[int] = []
        self._allocate(min(1024, max_accounts + 2))

    def __len__(self) -> int:
        return len(self._slots)

    def observe(
        self, accounts: Sequence[str], roles: Ints, times_seconds: Floats, amounts: Floats
    ) -> tuple[Floats, Floats]:
        """Return each account's history just before each event, and count the event.

        Events are taken in the order given, also where an account comes several times.

        Returns
        -------
        history
            Shape (n, 2, 4, H): decayed sums of the account by role, statistic and half-life.
        since_seconds
            Shape (n, 2): time since the account was last seen in each role; inf where never.
        """
        slots = self._slots_of(accounts)
        history = np.empty((len(slots), *self._sums.shape[1:]))
        since = np.empty((len(slots), 2))
        for rows in _rounds(slots):  # within a round, every account comes once
            at, role, now = slots[rows], roles[rows], times_seconds[rows]
            gap = np.maximum(now[:, None] - self._seen[at], 0.0)
            decay = np.exp2(-gap[:, :, None] / self.half_lives_seconds)
            decayed = self._sums[at] * decay[:, :, None, :]
            history[rows] = decayed
            since[rows] = gap
            each = np.arange(len(rows))
            mine = decayed[each, role]
            mine[:, COUNT] += 1.0
            mine[:, AMOUNT] += amounts[rows][:, None]
            self._sums[at, role] = mine
            self._seen[at, role] = np.maximum(self._seen[at, role], now)
        return history, since

    def label(
        self, accounts: Sequence[str], roles: Ints, times_seconds: Floats, frauds: Floats
    ) -> None:
        """Count labels of events at `times_seconds`; accounts no longer held are passed over.

        `frauds` holds what is added to the account's frauds per label, 1 or 0.
        """
        known = [i for i, account in enumerate(accounts) if account in self._slots]
        if not known:
            return
        rows = np.asarray(known)
        at = np.array([self._slots[accounts[i]] for i in known], dtype=np.int64)
        role = roles[rows]
        seen = self._seen[at, role]
        reference = np.where(np.isfinite(seen), seen, times_seconds[rows])
        self._seen[at, role] = reference
        age = np.maximum(reference - times_seconds[rows], 0.0)
        discount = np.exp2(-age[:, None] / self.half_lives_seconds)
        labels, of_fraud = self._sums[:, :, LABELS], self._sums[:, :, FRAUDS]
        np.add.at(labels, (at, role), discount)
        np.add.at(of_fraud, (at, role), discount * frauds[rows][:, None])

    def snapshot(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as plain arrays."""
        names = list(self._slots)
        at = np.fromiter(self._slots.values(), dtype=np.int64, count=len(names))
        return {
            "names": pack(names),
            "sums": self._sums[at],
            "seen": self._seen[at],
            "evicted": np.array(self.evicted),
        }

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over a snapshot."""
        names = unpack(state["names"])
        self._allocate(max(len(names), 1024))
        self._names[: len(names)] = names
        self._slots = {name: slot for slot, name in enumerate(names)}
        self._free = list(range(len(self._names) - 1, len(names) - 1, -1))
        self._sums[: len(names)] = state["sums"]
        self._seen[: len(names)] = state["seen"]
        self.evicted = int(state["evicted"].item())

    def _allocate(self, capacity: int) -> None:
        self._sums = np.zeros((capacity, 2, _STATISTICS, len(self.half_lives_seconds)))
        self._seen = np.full((capacity, 2), _NEVER)
        self._names = [""] * capacity
        self._slots = {}
        self._free = list(range(capacity - 1, -1, -1))

    def _slots_of(self, accounts: Sequence[str]) -> Ints:
        """Slots of accounts, new ones where need be. Evicts before, so that no slot is taken twice
        within a batch."""
        new = len({account for account in accounts if account not in self._slots})
        if len(self._slots) + new > self.max_accounts:
            self._evict(len(self._slots) + new - self.max_accounts, keep=set(accounts))
        while len(self._free) < new:
            self._grow()
        slots = np.empty(len(accounts), dtype=np.int64)
        for i, account in enumerate(accounts):
            slot = self._slots.get(account)
            if slot is None:
                slot = self._slots[account] = self._free.pop()
                self._names[slot] = account
            slots[i] = slot
        return slots

    def _grow(self) -> None:
        capacity = len(self._names)
        self._sums = np.concatenate([self._sums, np.zeros_like(self._sums)])
        self._seen = np.concatenate([self._seen, np.full_like(self._seen, _NEVER)])
        self._names.extend([""] * capacity)
        self._free.extend(range(2 * capacity - 1, capacity - 1, -1))

    def _evict(self, at_least: int, keep: set[str]) -> None:
        """Evict accounts unseen for longest, a sixteenth at once: finding them reads all.

        An account of the batch at hand stays, even if that exceeds the bound by the batch.
        """
        held = np.array([s for a, s in self._slots.items() if a not in keep], dtype=np.int64)
        count = min(max(at_least, self.max_accounts // 16), len(held))
        if not count:
            return
        last = self._seen[held].max(axis=1)
        oldest = held[np.argpartition(last, count - 1)[:count]]
        for slot in oldest.tolist():
            del self._slots[self._names[slot]]
            self._names[slot] = ""
            self._free.append(slot)
        self._sums[oldest] = 0.0
        self._seen[oldest] = _NEVER
        self.evicted += count


def _rounds(slots: Ints) -> list[Ints]:
    """Split rows so that each part has every slot at most once, and earlier rows come first.

    >>> [rows.tolist() for rows in _rounds(np.array([5, 7, 5, 5]))]
    [[0, 1], [2], [3]]
    """
    if not len(slots):
        return []
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    starts = np.flatnonzero(first)
    rank = np.arange(len(slots)) - np.repeat(starts, np.diff(np.r_[starts, len(slots)]))
    by_rank = np.lexsort((order, rank))
    cuts = np.cumsum(np.bincount(rank))[:-1]
    return [order[part] for part in np.split(by_rank, cuts)]
