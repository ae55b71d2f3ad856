"""Decayed history of accounts, in slots of arrays, bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.plain import RESERVED, FrozenTable, Restored, Snapshot
from stream.core.slots import Slots, ranks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ORIGIN, DESTINATION = 0, 1
"""Roles of an account in a transaction: each has a history of its own."""
COUNT, AMOUNT, LOG_AMOUNT, LOG_SQUARED = 0, 1, 2, 3
"""What is summed of transactions, with decay, per account, role and half-life."""
LABELS, FRAUDS = 0, 1
"""What is summed of labels."""
SEEN, LABELLED, FRAUD, RUN = 0, 1, 2, 3
"""Moments: last transaction, newest labelled one, newest fraud, begin of the run of frauds."""
_NEVER = -np.inf
_NOTHING = 1e-9
"""Decayed frauds, of the longest half-life, that are as good as none."""
_SPANS, _TOGETHER = 512, 16
"""Of slots that tell how long accounts were not seen, and as many in each: they lie together in
memory, and most of it is far from the processor."""
_LOOK = 4_096
"""Slots looked through at a time for one to evict."""


class History(NamedTuple):
    """What was known of the accounts of n events just before each, for H half-lives."""

    sums: Floats
    """Shape (n, 2, 4, H): decayed sums by role and statistic."""
    labels: Floats
    """Shape (n, 2, 2, H): labels and frauds among them, decayed up to the newest labelled one."""
    ages_seconds: Floats
    """Shape (n, 2, 4): time since each moment; inf where it never was."""


class Accounts:
    """Exponentially decayed sums per account and role, for several half-lives.

    A sum decays by half every half-life of event time since each thing summed, so it needs no
    window of past transactions. Labels count by the time of their transaction, and decay only up to
    the newest labelled one: the share of frauds that is known of an account does not fade while
    its labels are on their way, however long the label delay is.

    A run of frauds begins with a fraud and lasts until a legitimate transaction is known after it:
    an account that is being misused is so for a while, and then no longer.

    Parameters
    ----------
    half_lives_hours
        The half-lives, H of them.
    max_accounts
        Accounts held at most; beyond, one is evicted for each that comes: of the sixteenth that was
        not seen for longest the next in turn, slot by slot.
    """

    def __init__(self, half_lives_hours: Sequence[float], max_accounts: int) -> None:
        self.half_lives_seconds = 3600.0 * np.asarray(half_lives_hours, dtype=np.float64)
        self.max_accounts = max_accounts
        self.evicted = 0
        self._frozen, self._frozen_names = FrozenTable({}, 0), FrozenTable({}, 0)
        """What a snapshot is being taken of; names change seldom."""
        self.observed: list[str] = []
        """The names of those observed last, as they are held here: who keeps many of them keeps
        one text of each."""
        self._allocate(min(RESERVED, max_accounts + 2))

    def __len__(self) -> int:
        return len(self._slots)

    def observe(
        self, accounts: Sequence[str], roles: Ints, times_seconds: Floats, amounts: Floats
    ) -> History:
        """Return each account's history just before each event, and count the event.

        Events are taken in the order given, also where an account comes several times. The four
        arguments are of one length, n.
        """
        slots = self._slots_of(accounts)
        names = self._names
        self.observed = [names[slot] for slot in slots.tolist()]
        self._frozen.keep(slots)
        n = len(slots)
        sums, labels = np.empty((n, *self._sums.shape[1:])), np.empty((n, *self._labels.shape[1:]))
        ages = np.empty((n, *self._moments.shape[1:]))
        log_amount = np.log1p(amounts)
        added = np.stack([np.ones(n), amounts, log_amount, log_amount**2], axis=1)[:, :, None]
        for rows in _rounds(slots):  # within a round, every account comes once
            at, role, now = slots[rows], roles[rows], times_seconds[rows]
            moments = self._moments[at]
            age = np.maximum(now[:, None, None] - moments, 0.0)
            decayed = self._sums[at] * self._decay(age[:, :, SEEN])[:, :, None, :]
            sums[rows], labels[rows], ages[rows] = decayed, self._labels[at], age
            each = np.arange(len(rows))
            self._sums[at, role] = decayed[each, role] + added[rows]
            self._moments[at, role, SEEN] = np.maximum(moments[each, role, SEEN], now)
        return History(sums, labels, ages)

    def label(
        self, accounts: Sequence[str], roles: Ints, times_seconds: Floats, frauds: Bools
    ) -> None:
        """Count labels of events at `times_seconds`; accounts no longer held are passed over."""
        for at, event in self._held(accounts):
            role, time, fraud = roles[event], times_seconds[event], frauds[event]
            moments = self._moments[at, role]
            newest = np.maximum(moments[:, LABELLED], time)
            # The sums stand at the newest labelled event: one of the two lies before it.
            sums = self._labels[at, role]
            sums *= self._decay(newest - moments[:, LABELLED])[:, None, :]
            share = self._decay(newest - time)
            sums[:, LABELS] += share
            sums[:, FRAUDS] += share * fraud[:, None]
            self._labels[at, role] = sums
            last, run = moments[:, FRAUD], moments[:, RUN]
            moments[:, LABELLED] = newest
            moments[:, FRAUD] = np.where(fraud, np.maximum(last, time), last)
            begun = np.where(run == _NEVER, time, np.minimum(run, time))
            # A legitimate event ends the run, or shows that it began later.
            ended = np.where(time >= last, _NEVER, np.where(time > run, last, run))
            moments[:, RUN] = np.where(fraud, begun, ended)
            self._moments[at, role] = moments

    def correct(
        self, accounts: Sequence[str], roles: Ints, times_seconds: Floats, frauds: Bools
    ) -> None:
        """Count events at `times_seconds` as what `frauds` says that were labelled the opposite.

        The sums are then those of the right labels. The moments are, as far as they can be known
        without the events in between: where the newest fraud was none, the one before it is taken
        to lie where its run began; without a run, the moment stays as long as any fraud is known.
        An account whose labels were forgotten since (`max_accounts`) has nothing to take back.
        """
        for slots, events in self._held(accounts):
            counted = self._moments[slots, roles[events], LABELLED] >= times_seconds[events]
            at, event = slots[counted], events[counted]
            role, time, fraud = roles[event], times_seconds[event], frauds[event]
            moments, sums = self._moments[at, role], self._labels[at, role]
            newest, last, run = moments[:, LABELLED], moments[:, FRAUD], moments[:, RUN]
            share = self._decay(newest - time) * np.where(fraud, 1.0, -1.0)[:, None]
            left = np.minimum(np.maximum(sums[:, FRAUDS] + share, 0.0), sums[:, LABELS])
            none = left.max(axis=1) <= _NOTHING
            left[none] = 0.0
            sums[:, FRAUDS] = left
            self._labels[at, role] = sums
            before = np.where(none, _NEVER, np.where((run > _NEVER) & (run < time), run, last))
            last = np.where(fraud, np.maximum(last, time), np.where(time >= last, before, last))
            # Where the newest label says legitimate, whatever run there was is over.
            running = run > _NEVER
            begun = np.where(running, np.minimum(run, time), np.where(newest > last, run, time))
            ended = np.where(time >= last, _NEVER, np.where(time >= run, last, run))
            moments[:, FRAUD] = last
            moments[:, RUN] = np.where(fraud, begun, np.where(running, ended, run))
            self._moments[at, role] = moments

    def _held(self, accounts: Sequence[str]) -> Iterator[tuple[Ints, Ints]]:
        """Slots of those accounts that are held, and which events they are of, every account at
        most once at a time."""
        slots = self._found(accounts)
        events = np.flatnonzero(slots >= 0)
        slots = slots[events]
        self._frozen.keep(slots)
        for rows in _rounds(slots):
            yield slots[rows], events[rows]

    def _decay(self, ages_seconds: Floats) -> Floats:
        """Return what is left after so long, by half-life: one more axis at the end."""
        left: Floats = np.exp2(-ages_seconds[..., None] / self.half_lives_seconds)
        return left

    def _found(self, accounts: Sequence[str]) -> Ints:
        """Return the slot of each account, -1 where it is not held."""
        return np.array(self._slots.find(accounts), dtype=np.int64)

    def snapshot(self) -> Snapshot:
        """Return the state, plain; one at a time, as the one before is then given up.

        Slot by slot, those without an account as well: who is evicted next is told by slots.
        """
        columns = {"sums": self._sums, "labels": self._labels, "moments": self._moments}
        self._frozen = FrozenTable(columns, len(self._names))
        self._frozen_names = FrozenTable({"names": self._names}, len(self._names))
        return {
            **self._frozen_names.columns,
            **self._frozen.columns,
            "free": np.array(self._free, dtype=np.int64),
            "unseen_since": np.array(self._unseen_since),
            "looked": np.array([self._looked, self._ahead, self.evicted]),
        }

    def restore(self, state: Restored) -> None:
        """Take over a snapshot."""
        names, free = state["names"], state["free"]
        self._allocate(max(len(names), min(RESERVED, self.max_accounts + 2)))
        self._names += names
        self._free += free.tolist()
        self._slots.add(np.delete(np.arange(len(names)), free).tolist())
        self._sums[: len(names)] = state["sums"]
        self._labels[: len(names)] = state["labels"]
        self._moments[: len(names)] = state["moments"]
        self._unseen_since = float(state["unseen_since"])
        self._looked, self._ahead, self.evicted = state["looked"].tolist()

    def _allocate(self, capacity: int) -> None:
        half_lives = len(self.half_lives_seconds)
        self._sums = np.zeros((capacity, 2, 4, half_lives))
        self._labels = np.zeros((capacity, 2, 2, half_lives))
        self._moments = np.zeros((capacity, 2, 4))  # of a new slot they are set
        self._names: list[str] = []
        """By slot, of all that were ever taken."""
        self._slots: Slots = Slots(self._names, capacity)
        self._free: list[int] = []
        """Slots of those evicted, where no other account has taken them."""
        self._unseen_since = _NEVER
        """Whoever was not seen after this is evicted, where there is need."""
        self._looked = self._ahead = 0
        """The slot to look at next, and how many until it is told anew who is old."""

    def _slots_of(self, accounts: Sequence[str]) -> Ints:
        """Slots of accounts, new ones where need be. Evicts before, so that no slot is taken twice
        within a batch."""
        slots = self._found(accounts)
        unknown = np.flatnonzero(slots < 0).tolist()
        new = dict.fromkeys(accounts[i] for i in unknown)
        if len(self._slots) + len(new) > self.max_accounts:
            self._evict(len(self._slots) + len(new) - self.max_accounts, slots[slots >= 0])
        first = len(self._names)
        theirs = [self._free.pop() for _ in range(min(len(new), len(self._free)))]
        self._keep(np.array(theirs, dtype=np.int64))
        for account, slot in zip(new, theirs, strict=False):
            self._names[slot] = account
        self._names += list(new)[len(theirs) :]
        theirs += range(first, len(self._names))
        self._slots.add(theirs)
        slot_of = dict(zip(new, theirs, strict=True))
        while len(self._names) > len(self._sums):
            self._grow()
        self._moments[first : len(self._names)] = _NEVER
        slots[unknown] = [slot_of[accounts[i]] for i in unknown]
        return slots

    def _keep(self, slots: Ints) -> None:
        """Before slots are given up or taken: a snapshot has them as they are."""
        self._frozen.keep(slots)
        self._frozen_names.keep(slots)

    def _grow(self) -> None:
        """Make twice the room, up to the bound; beyond, for the batch at hand."""
        held = len(self._sums)
        more = max(min(held, self.max_accounts - held), 1024)
        self._sums, self._labels, self._moments = (
            np.concatenate([array, np.zeros((more, *array.shape[1:]))])
            for array in (self._sums, self._labels, self._moments)
        )

    def _evict(self, count: int, at_hand: Ints) -> None:
        """Evict so many of the accounts that were not seen for longest.

        Those of the batch at hand, by slot, stay, even if that exceeds the bound by the batch.
        """
        held, in_vain = len(self._names), 0
        while count and in_vain < held:
            if not self._ahead:
                self._tell_old(max(count + len(at_hand), self.max_accounts // 16))
                self._ahead = held // 32 + 1  # half as many: there are some to the end of it
            self._looked %= held
            span = slice(self._looked, min(self._looked + min(_LOOK, self._ahead), held))
            seen = self._last_seen(span)
            old = np.flatnonzero((seen <= self._unseen_since) & (seen > _NEVER)) + span.start
            if len(old):
                old = old[~np.isin(old, at_hand)]
            stop = span.stop if len(old) <= count else int(old[count])
            in_vain = 0 if len(old) else in_vain + stop - span.start
            self._ahead -= stop - span.start
            self._looked = stop
            self._let_go(old[:count])
            count -= len(old[:count])

    def _tell_old(self, count: int) -> None:
        """Tell from when on about so many accounts were not seen."""
        spans = np.arange(0, len(self._names), max(len(self._names) // _SPANS, _TOGETHER))
        sample = (spans[:, None] + np.arange(_TOGETHER)).ravel()
        seen = self._last_seen(sample[sample < len(self._names)])
        seen = seen[seen > _NEVER]
        at = min(-(-count * len(seen) // max(len(self._slots), 1)), len(seen)) - 1
        self._unseen_since = float(np.partition(seen, at)[at]) if len(seen) else np.inf

    def _last_seen(self, slots: slice | Ints) -> Floats:
        """When the account of each slot was seen last."""
        seen = self._moments[slots, :, SEEN]
        return np.maximum(seen[:, 0], seen[:, 1])

    def _let_go(self, slots: Ints) -> None:
        freed = slots.tolist()
        self._slots.remove(freed)
        self._keep(slots)
        for slot in freed:
            self._names[slot] = ""
        self._free += freed
        self._sums[slots] = 0.0
        self._labels[slots] = 0.0
        self._moments[slots] = _NEVER
        self.evicted += len(freed)


def _rounds(slots: Ints) -> list[Ints]:
    """Split rows so that each part has every slot at most once, and earlier rows come first.

    >>> [rows.tolist() for rows in _rounds(np.array([5, 7, 5, 5]))]
    [[0, 1], [2], [3]]
    """
    if not len(slots):
        return []
    rank = ranks(slots)
    if not rank.any():
        return [np.arange(len(slots))]
    return np.split(np.argsort(rank, kind="stable"), np.cumsum(np.bincount(rank))[:-1])
