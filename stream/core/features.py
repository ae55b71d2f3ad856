"""A transaction as numbers, known at authorisation time and from the account's past only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from stream.core.accounts import (
    AMOUNT,
    COUNT,
    DESTINATION,
    FRAUD,
    FRAUDS,
    LABELLED,
    LABELS,
    LOG_AMOUNT,
    LOG_SQUARED,
    ORIGIN,
    RUN,
    SEEN,
    Accounts,
    Bools,
    History,
    Ints,
)
from stream.core.novelty import Novelty
from stream.core.own import OwnFeatures
from stream.core.plain import Restored, Snapshot
from stream.core.wire import AnyTransaction
from stream.settings import OwnError

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]

_LONGEST_HOURS = 24.0 * 60
"""Not seen for longer than this is as good as never."""
_LEAST_DEVIATION = 0.3
"""Added to a deviation of log amounts: two equal payments do not make a third one unusual."""
_SIDES = ("orig", "dest")


class Features:
    """Turns batches of transactions of one partition into feature rows, and remembers.

    Parameters
    ----------
    types
        Transaction types with a feature of their own; all others share `type_other`.
    half_lives_hours
        Half-lives of account history in hours of event time.
    max_accounts
        Accounts held at most.
    step_origin
        Event time of step 0.
    own
        ``package.module:TABLE`` of the user's own features (`core.own`), which come last.
    """

    def __init__(
        self,
        types: Sequence[str],
        half_lives_hours: Sequence[float],
        max_accounts: int,
        step_origin: datetime,
        own: str | None = None,
    ) -> None:
        self.accounts = Accounts(half_lives_hours, max_accounts)
        self.own = OwnFeatures(own)
        self.names = feature_names(types, half_lives_hours) + self.own.names
        if len(set(self.names)) < len(self.names):
            raise OwnError(
                f"features {own!r} has a name that Weir's own features have, too: "
                f"{', '.join(sorted(n for n in self.own.names if self.names.count(n) > 1))}"
            )
        self.novelty = Novelty(self.names.index("novelty"))
        self._types = {name: i for i, name in enumerate(types)}
        self._step_origin = step_origin

    def times_seconds(self, batch: Sequence[AnyTransaction]) -> Floats:
        """Return the event times, shape (n,)."""
        return np.array([tx.time_seconds(self._step_origin) for tx in batch], dtype=np.float64)

    def transform(self, batch: Sequence[AnyTransaction], times_seconds: Floats) -> Rows:
        """Return the features of each transaction, shape (n, len(names)), and count it.

        Row i knows all earlier rows. Splitting a batch changes nothing.
        """
        n = len(batch)
        amount = np.array([tx.amount for tx in batch])
        old_orig, orig_missing = _balance([tx.oldbalanceOrg for tx in batch])
        old_dest, dest_missing = _balance([tx.oldbalanceDest for tx in batch])
        kinds = np.zeros((n, len(self._types) + 1))
        kinds[np.arange(n), [self._types.get(tx.type, len(self._types)) for tx in batch]] = 1.0
        columns = [
            np.log1p(amount),
            kinds,
            orig_missing,
            np.log1p(np.maximum(old_orig, 0.0)),
            np.where(orig_missing > 0, 0.0, np.minimum(amount / (np.abs(old_orig) + 1.0), 10.0)),
            (old_orig > 0) & (np.abs(amount - old_orig) < 0.005),
            dest_missing,
            np.log1p(np.maximum(old_dest, 0.0)),
            (dest_missing == 0) & (old_dest == 0),
            [tx.nameDest.startswith("M") for tx in batch],
        ]
        columns.append(np.log1p(self.novelty.score(np.column_stack(columns).astype(np.float64))))
        hour = 2.0 * np.pi * times_seconds / 86_400.0
        columns += [np.sin(hour), np.cos(hour)]
        # Origin and destination of a transaction are two events, in this order.
        names = [name for tx in batch for name in (tx.nameOrig, tx.nameDest)]
        roles = np.tile(np.array([ORIGIN, DESTINATION]), n)
        history = self.accounts.observe(
            names, roles, np.repeat(times_seconds, 2), np.repeat(amount, 2)
        )
        sides = _history(history, roles, np.repeat(columns[0], 2))
        columns.append(sides.reshape(n, 2 * sides.shape[1]))
        columns += self.own.columns(batch)
        return np.column_stack(columns).astype(np.float32)

    def accounts_of_batch(self) -> tuple[list[str], list[str]]:
        """Return origins and destinations of what was transformed last, one text of each name."""
        names = self.accounts.observed
        return names[::2], names[1::2]

    def label(
        self, origins: Sequence[str], destinations: Sequence[str], times: Floats, frauds: Bools
    ) -> None:
        """Count labels of transactions in the history of both accounts, shapes (n,)."""
        self.accounts.label(*_both(origins, destinations, times, frauds))

    def correct(
        self, origins: Sequence[str], destinations: Sequence[str], times: Floats, frauds: Bools
    ) -> None:
        """Count transactions as what `frauds` says that were labelled the opposite, shapes (n,)."""
        self.accounts.correct(*_both(origins, destinations, times, frauds))

    def snapshot(self) -> Snapshot:
        """Return the state, plain: see those of the parts."""
        return {
            **{f"accounts.{name}": array for name, array in self.accounts.snapshot().items()},
            **{f"novelty.{name}": array for name, array in self.novelty.snapshot().items()},
        }

    def restore(self, state: Restored) -> None:
        """Take over a snapshot."""
        for part in ("accounts", "novelty"):
            mine = {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(part)}
            getattr(self, part).restore(mine)


def feature_names(types: Sequence[str], half_lives_hours: Sequence[float]) -> tuple[str, ...]:
    """Return the names of the feature columns, in order.

    ====================== =======================================================================
    amount                 log(1 + amount)
    type_*                 1 for the transaction's type
    *_balance_missing      1 where the message carries no balance
    *_balance              log(1 + balance before the transaction)
    amount_to_balance      amount over the origin's balance, at most 10
    drains                 1 where the amount is exactly the origin's balance
    dest_empty             1 where the destination's balance is 0
    dest_merchant          1 where the destination's name begins with M
    novelty                log(1 + how far the fields above lie beyond the stream's usual; see
                           `core.novelty`): what ranks before the first label
    hour_sin, hour_cos     time of day (UTC) on a circle
    orig_*, dest_*         history of the account in this role, before this transaction:
    ..count_H              log(1 + decayed number of transactions), half-life H
    ..amount_ratio_H       log(1 + amount) less the account's decayed mean of it; 0 without history
    ..amount_unusual_H     the same in standard deviations of the account, at most 10
    ..fraud_H              decayed frauds over (decayed labels + 1), up to the newest label
    ..labels               log(1 + decayed number of labels), longest half-life
    ..since                log(1 + hours since last seen in this role)
    ..label_age            log(1 + hours since the newest labelled transaction)
    ..fraud_age            log(1 + hours since the newest known fraud)
    ..fraud_run            log(1 + hours since the known frauds began that no legitimate
                           transaction has followed yet); 0 where there is no such run
    ..turned               log of amount over what the account moved in the other role, shortest
                           half-life: 0 where money passes straight through, positive without
    ====================== =======================================================================
    """
    hours = [f"{h:g}h" for h in half_lives_hours]
    names = ["amount", *(f"type_{t}" for t in types), "type_other"]
    names += ["orig_balance_missing", "orig_balance", "amount_to_balance", "drains"]
    names += ["dest_balance_missing", "dest_balance", "dest_empty", "dest_merchant"]
    names += ["novelty", "hour_sin", "hour_cos"]
    by_half_life = ("count", "amount_ratio", "amount_unusual", "fraud")
    others = ("labels", "since", "label_age", "fraud_age", "fraud_run", "turned")
    for side in _SIDES:
        names += [f"{side}_{kind}_{h}" for kind in by_half_life for h in hours]
        names += [f"{side}_{kind}" for kind in others]
    return tuple(names)


def _both(
    origins: Sequence[str], destinations: Sequence[str], times: Floats, frauds: Bools
) -> tuple[list[str], Ints, Floats, Bools]:
    """Return n transactions as the 2n events of their accounts: names, roles, times, frauds."""
    roles = np.repeat(np.array([ORIGIN, DESTINATION]), len(times))
    return [*origins, *destinations], roles, np.tile(times, 2), np.tile(frauds, 2)


def _history(history: History, roles: Ints, log_amount: Floats) -> Floats:
    """Return the columns of one side for each event in its role, shape (2n, k)."""
    each = np.arange(len(roles))
    sums, labels = history.sums[each, roles], history.labels[each, roles]
    count = sums[:, COUNT]
    known = count > 1e-3
    some = np.maximum(count, 1e-9)
    mean = sums[:, LOG_AMOUNT] / some
    variance = sums[:, LOG_SQUARED] / some - mean**2
    ratio = np.where(known, log_amount[:, None] - mean, 0.0)
    unusual = ratio / (np.sqrt(np.maximum(variance, 0.0)) + _LEAST_DEVIATION)
    ages = np.minimum(history.ages_seconds[each, roles] / 3600.0, _LONGEST_HOURS)
    logs = np.log1p(ages)
    run = np.where(ages[:, RUN] < _LONGEST_HOURS, logs[:, RUN], 0.0)
    turned = log_amount - np.log1p(history.sums[each, 1 - roles, AMOUNT, 0])
    return np.column_stack(
        [
            np.log1p(count),
            ratio,
            np.minimum(np.maximum(unusual, -10.0), 10.0),
            labels[:, FRAUDS] / (labels[:, LABELS] + 1.0),
            np.log1p(labels[:, LABELS, -1]),
            logs[:, (SEEN, LABELLED, FRAUD)],
            run,
            turned,
        ]
    )


def _balance(values: Sequence[float | None]) -> tuple[Floats, Floats]:
    balances = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    missing = np.isnan(balances)
    return np.where(missing, 0.0, balances), missing.astype(np.float64)
