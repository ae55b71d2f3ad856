"""Log and wait: scored transactions until their label comes, bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.plain import RESERVED, Columns, FrozenTable, Restored, Snapshot
from stream.core.scored import Scored
from stream.core.segments import Codes, columns
from stream.core.slots import Slots
from stream.core.wire import AnyLabel, AnyTransaction, written
from stream.events import Label

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_MAX_EARLY = 100_000
"""Labels that may wait for their transaction."""
_LOOK_BACK = 50_000
"""Transactions before an alert among which those of its accounts are looked for."""
_TIME, _SCORE, _AMOUNT, _LABELLED_AT, _SENT = range(5)
"""Numbers that are held of a transaction; the last two of its label."""


class Joined(NamedTuple):
    """Labels that met their transaction, as columns of one length."""

    labels: list[AnyLabel]
    frauds: Bools
    times_seconds: Floats
    scores: Floats
    alerts: Bools
    amounts: Floats
    codes: Codes
    """Of the window's segments, shape (n, f)."""
    origins: list[str]
    destinations: list[str]
    features: Rows
    slots: Ints
    """Where `Pending` holds each."""
    sent: Floats
    """Of a correction: the weight with which the verdict that it contradicts went to the training
    log, 0 where it was thinned away. NaN: the transaction's first label."""

    @property
    def scored(self) -> Scored:
        """The columns of what was decided."""
        return Scored(self.times_seconds, self.scores, self.alerts, self.amounts, self.codes)

    @property
    def corrects(self) -> Bools:
        """Which contradict a label that was returned before."""
        return ~np.isnan(self.sent)

    def where(self, rows: Bools) -> Joined:
        """Return some of the rows."""
        at = np.flatnonzero(rows)
        return Joined._make(
            [column[i] for i in at.tolist()] if isinstance(column, list) else column[at]
            for column in self
        )


class Entry(NamedTuple):
    """A transaction that is held, with what is known of it by now."""

    transaction_id: str
    time_seconds: float
    codes: list[int]
    """Of the window's segments."""
    amount: float
    origin: str
    destination: str
    score: float
    alerted: bool
    is_fraud: bool | None


class Pending:
    """A ring of scored transactions in arrays: the oldest expire when it is full.

    An entry stays after its label came, so that a second copy of the transaction is recognised as
    such, and a second label, too: one that says the same is repeated, one that contradicts corrects
    the first. Of labels of one transaction the newest `labelled_at` holds, whoever it comes from;
    of equal ones that which came last. Labels that come before their transaction wait, bounded as
    well, the one that holds of each.

    Parameters
    ----------
    width
        Number of features of a transaction.
    max_pending
        Transactions held at most.
    fields
        That a transaction has a segment's code of.
    """

    def __init__(self, width: int, max_pending: int, fields: Sequence[str]) -> None:
        self.width = width
        self.max_pending = max_pending
        self.fields = tuple(fields)
        self.expired = 0
        """Transactions that fell out before a label came."""
        self.unknown = 0
        """Labels whose transaction was not held, and that fell out themselves while waiting."""
        self.repeated = 0
        """Labels that say again what is known, or what is known better by now."""
        self.corrected = 0
        """Labels that contradict the one before them, and hold from then on."""
        self._ids: list[str] = []
        self._origins: list[str] = []
        self._destinations: list[str] = []
        self._early: OrderedDict[str, AnyLabel] = OrderedDict()
        self._met: list[AnyLabel] = []
        self._next = 0
        self._frozen, self._frozen_labels = FrozenTable({}, 0), FrozenTable({}, 0)
        """What a snapshot is being taken of, without and with what labels change."""
        room = min(RESERVED, max_pending)
        self._allocate(room)
        self._slots = Slots(self._ids, room)

    def __len__(self) -> int:
        """Transactions that wait for a label."""
        return len(self._slots) - int(self._labelled[: len(self._ids)].sum())

    def held(self, transaction_ids: Sequence[str]) -> list[bool]:
        """Return which of these transactions are held, labelled or not."""
        return [slot >= 0 for slot in self._slots.find(transaction_ids)]

    @property
    def early(self) -> int:
        """Labels that wait for their transaction."""
        return len(self._early) + len(self._met)

    def add(
        self,
        batch: Sequence[AnyTransaction],
        scored: Scored,
        features: Rows,
        *,
        accounts: tuple[Sequence[str], Sequence[str]] | None = None,
    ) -> None:
        """Hold transactions with the score and decision they were given.

        `accounts` are the texts to keep of the names of origins and destinations: one for all
        transactions of each, where somebody has it anyway, takes a fifth less memory.
        """
        if accounts is None:
            accounts = [tx.nameOrig for tx in batch], [tx.nameDest for tx in batch]
        first = 0
        while first < len(batch):  # up to the end of the ring at a time
            here = slice(self._next, min(self._next + len(batch) - first, self.max_pending))
            rows = slice(first, first + here.stop - here.start)
            self._make_room(here)
            ids = [tx.transaction_id for tx in batch[rows]]
            self._ids[here] = ids
            origins, destinations = (names[rows] for names in accounts)
            self._origins[here], self._destinations[here] = origins, destinations
            self._origin_keys[here] = list(map(hash, origins))
            self._destination_keys[here] = list(map(hash, destinations))
            self._codes[here] = scored.codes[rows]
            self._slots.add(range(here.start, here.stop))
            self._numbers[here, _TIME] = scored.times_seconds[rows]
            self._numbers[here, _SCORE] = scored.scores[rows]
            self._numbers[here, _AMOUNT] = scored.amounts[rows]
            self._numbers[here, _SENT] = np.nan
            self._alerts[here] = scored.alerts[rows]
            self._labelled[here] = False
            self._features[here] = features[rows]
            if self._early:
                met = (self._early.pop(transaction_id, None) for transaction_id in ids)
                self._met += [label for label in met if label is not None]
            first, self._next = rows.stop, here.stop % self.max_pending

    def join(self, labels: Sequence[AnyLabel]) -> Joined:
        """Return the labels that meet their transaction now, those that came early included.

        Of a transaction comes one at most, the one that holds, and only where it is the first or
        says other than the one returned before. Those are taken to be thinned away until `sent`
        says otherwise.
        """
        found: dict[int, AnyLabel] = {}
        known: dict[int, bool] = {}
        """Of those labelled before: what was said then."""
        labelled_at = self._numbers[:, _LABELLED_AT]
        come = [*self._met, *labels]
        places = self._slots.find([label.transaction_id for label in come])
        self._frozen_labels.keep(np.array([at for at in places if at >= 0], dtype=np.int64))
        for label, slot in zip(come, places, strict=True):
            if slot < 0:
                self._wait(label)
            elif not self._labelled[slot]:
                self._labelled[slot] = True
                labelled_at[slot] = label.labelled_at.timestamp()
                found[slot] = label
            elif self._contradicts(slot, label, found.get(slot)):
                if slot not in found:
                    known[slot] = not label.is_fraud
                labelled_at[slot] = label.labelled_at.timestamp()
                found[slot] = label
        self._met = []
        for slot, said in known.items():
            if found[slot].is_fraud == said:  # corrected there and back
                del found[slot]
        slots = list(found)
        at = np.array(slots, dtype=np.int64)
        frauds = np.array([label.is_fraud for label in found.values()], dtype=np.bool_)
        numbers = self._numbers[at]
        self._numbers[at, _SENT] = 0.0
        self._frauds[at] = frauds
        return Joined(
            labels=list(found.values()),
            frauds=frauds,
            times_seconds=numbers[:, _TIME],
            scores=numbers[:, _SCORE],
            alerts=self._alerts[at],
            amounts=numbers[:, _AMOUNT],
            codes=self._codes[at],
            origins=[self._origins[slot] for slot in slots],
            destinations=[self._destinations[slot] for slot in slots],
            features=self._features[at],
            slots=at,
            sent=numbers[:, _SENT],
        )

    def sent(self, slots: Ints, weights: Floats) -> None:
        """Remember with which weight labels just joined went to the training log, 0: not at all."""
        self._frozen_labels.keep(slots)
        self._numbers[slots, _SENT] = weights

    def recent(self, transaction_id: str, most: int) -> list[Entry]:
        """Return what origin and destination of a transaction did before it, newest first.

        Up to `most` of each account, in either role, among the last 50,000 transactions. Nothing,
        where its own batch has pushed it out already.
        """
        (at,) = self._slots.find([transaction_id])
        if at < 0:
            return []
        newer = (self._next - 1 - at) % self.max_pending
        back = min(_LOOK_BACK, len(self._ids) - 1 - newer)
        found = {
            slot
            for name in (self._origins[at], self._destinations[at])
            for slot in islice(self._before(at, back, name), most)
        }
        newest_first = sorted(found, key=lambda slot: (at - slot) % self.max_pending)
        return [self._entry(slot) for slot in newest_first]

    def _before(self, at: int, back: int, name: str) -> Iterator[int]:
        """The slots of an account among the `back` before one, newest first, round the ring."""
        key, end = hash(name), self.max_pending
        for begin, until in ((max(at - back, 0), at), (end + min(at - back, 0), end)):
            origins = self._origin_keys[begin:until] == key
            for hit in np.flatnonzero(origins | (self._destination_keys[begin:until] == key))[::-1]:
                slot = begin + int(hit)
                if name in (self._origins[slot], self._destinations[slot]):
                    yield slot

    def _entry(self, slot: int) -> Entry:
        return Entry(
            transaction_id=self._ids[slot],
            time_seconds=float(self._numbers[slot, _TIME]),
            codes=self._codes[slot].tolist(),
            amount=float(self._numbers[slot, _AMOUNT]),
            origin=self._origins[slot],
            destination=self._destinations[slot],
            score=float(self._numbers[slot, _SCORE]),
            alerted=bool(self._alerts[slot]),
            is_fraud=bool(self._frauds[slot]) if self._labelled[slot] else None,
        )

    @property
    def has_met(self) -> bool:
        """Whether a label that came early has met its transaction: `join` will return it."""
        return bool(self._met)

    def snapshot(self) -> Snapshot:
        """Return the state, plain, the oldest first; one at a time: the one before is given up."""
        n = len(self._ids)
        first = self._next if n == self.max_pending else 0  # the oldest
        waiting = [*self._met, *self._early.values()]
        columns: Columns = {
            "ids": self._ids,
            "origins": self._origins,
            "destinations": self._destinations,
            "alerts": self._alerts,
            "codes": self._codes,
            "features": self._features,
        }
        labels = {"numbers": self._numbers, "labelled": self._labelled, "frauds": self._frauds}
        self._frozen = FrozenTable(columns, n, first)
        self._frozen_labels = FrozenTable(labels, n, first)
        return {
            **self._frozen_labels.columns,
            **self._frozen.columns,
            "fields": list(self.fields),
            "early": [written(label).decode() for label in waiting],
            "counters": np.array([self.expired, self.unknown, self.repeated, self.corrected]),
        }

    def restore(self, state: Restored) -> None:
        """Take over a snapshot: the newest of it, where the bound is lower now."""
        self._ids, self._origins, self._destinations = (
            state[name][-self.max_pending :] for name in ("ids", "origins", "destinations")
        )
        names: dict[str, str] = {}
        self._origins = [names.setdefault(name, name) for name in self._origins]
        self._destinations = [names.setdefault(name, name) for name in self._destinations]
        n = len(self._ids)
        room = max(n, min(RESERVED, self.max_pending))
        self._allocate(room)
        self._slots = Slots(self._ids, room)
        self._slots.add(range(n))
        kept = slice(len(state["numbers"]) - n, None)
        self._numbers[:n] = state["numbers"][kept]
        self._alerts[:n] = state["alerts"][kept]
        self._labelled[:n] = state["labelled"][kept]
        self._frauds[:n] = state["frauds"][kept]
        self._codes[:n] = columns(state["codes"][kept], state["fields"], self.fields, axis=1)
        self._features[:n] = state["features"][kept]
        self._origin_keys[:n] = list(map(hash, self._origins))
        self._destination_keys[:n] = list(map(hash, self._destinations))
        self._next = n % self.max_pending
        self.expired, self.unknown, self.repeated, self.corrected = state["counters"].tolist()
        waiting = [Label.model_validate_json(text) for text in state["early"]]
        held = self.held([label.transaction_id for label in waiting])
        self._met = [label for label, met in zip(waiting, held, strict=True) if met]
        early = [label for label, met in zip(waiting, held, strict=True) if not met]
        self._early = OrderedDict((label.transaction_id, label) for label in early)

    def _make_room(self, here: slice) -> None:
        """Have arrays that reach so far, and let go what is held there."""
        while here.stop > len(self._labelled):
            self._grow()
        if here.start < len(self._ids):  # it has been round
            gone = range(here.start, min(here.stop, len(self._ids)))
            self._frozen.keep(np.array(gone))
            self._frozen_labels.keep(np.array(gone))
            self._slots.remove(gone)
            self.expired += int((~self._labelled[here]).sum())

    def _contradicts(self, slot: int, label: AnyLabel, found: AnyLabel | None) -> bool:
        """Whether a label corrects the one that holds, which may be `found` now; counts either."""
        seconds = label.labelled_at.timestamp()
        newer = bool(seconds >= self._numbers[slot, _LABELLED_AT])
        if newer and label.is_fraud != (found.is_fraud if found else self._frauds[slot]):
            self.corrected += 1
            return True
        if newer:
            self._numbers[slot, _LABELLED_AT] = seconds
        self.repeated += 1
        return False

    def _wait(self, label: AnyLabel) -> None:
        before = self._early.get(label.transaction_id)
        if before is not None:
            if label.labelled_at < before.labelled_at:
                self.repeated += 1
                return
            agrees = label.is_fraud == before.is_fraud
            self.repeated += agrees
            self.corrected += not agrees
        self._early[label.transaction_id] = label
        if len(self._early) > _MAX_EARLY:
            self._early.popitem(last=False)
            self.unknown += 1

    def _allocate(self, capacity: int) -> None:
        self._numbers = np.zeros((capacity, 5))
        self._alerts = np.zeros(capacity, dtype=np.bool_)
        self._labelled = np.zeros(capacity, dtype=np.bool_)
        self._frauds = np.zeros(capacity, dtype=np.bool_)
        self._codes = np.zeros((capacity, len(self.fields)), dtype=np.int16)
        self._origin_keys = np.zeros(capacity, dtype=np.int64)
        """Hashes of the names, by which `recent` finds them; like the next."""
        self._destination_keys = np.zeros(capacity, dtype=np.int64)
        self._features = np.zeros((capacity, self.width), dtype=np.float32)

    def _grow(self) -> None:
        held = len(self._ids)
        numbers, features = self._numbers, self._features
        codes, keys = self._codes, (self._origin_keys, self._destination_keys)
        alerts, labelled, frauds = self._alerts, self._labelled, self._frauds
        self._allocate(min(2 * len(labelled), self.max_pending))
        self._numbers[:held], self._features[:held] = numbers[:held], features[:held]
        self._alerts[:held], self._labelled[:held] = alerts[:held], labelled[:held]
        self._frauds[:held] = frauds[:held]
        self._codes[:held] = codes[:held]
        self._origin_keys[:held], self._destination_keys[:held] = keys[0][:held], keys[1][:held]
