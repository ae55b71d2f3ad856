"""Where the streams come from: tables, the generator, and tables made harder on purpose."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.ranking.streams import DAY, Floats, Stream, settings
from producers.paysim import NewPattern, Scenario, Shift, generate
from producers.replay import COLUMNS, read_table
from producers.rows import Row
from stream.evaluation.distort import Distortion
from stream.events import Transaction

AFTERWARDS = ("orig_after", "dest_after", "orig_gap", "dest_gap")
"""Extra features of the set "all fields": both new balances, and what does not add up in them."""


def stream_of(
    name: str, about: str, rows: Iterable[Row], delay: timedelta, score_from: timedelta
) -> Stream:
    """Return a stream of rows whose labels are all right and all come."""
    held = list(rows)
    frauds = np.array([bool(row.is_fraud) for row in held], dtype=np.bool_)
    return Stream(
        name=name,
        about=about,
        transactions=[row.transaction for row in held],
        times_seconds=np.array([row.time_seconds for row in held]),
        frauds=frauds,
        delay=delay,
        score_from=score_from,
        labels=frauds,
        labelled=np.array([row.is_fraud is not None for row in held], dtype=np.bool_),
    )


def card(data: Path, transactions: int | None, days: float | None) -> Stream:
    """The card stream: labels 7 days late, scored from day 60.

    Of less than 75 days, two thirds are not scored.
    """
    rows = _read(data, "card", transactions)
    if days is not None:
        end = rows[0].time_seconds + days * DAY
        rows = [row for row in rows if row.time_seconds < end]
    span = (rows[-1].time_seconds - rows[0].time_seconds) / DAY
    score_from = 60.0 if span > 75 else math.floor(span * 2 / 3)
    about = f"card stream, labels 7 days late, scored from day {score_from:g}"
    return stream_of("card", about, rows, timedelta(days=7), timedelta(days=score_from))


def paysim(data: Path, transactions: int | None, fields: str) -> Stream:
    """The PaySim rows in one of three field sets: `all`, `authorisation` or `no-balances`."""
    rows = _read(data, "paysim", transactions)
    delay, score_from = timedelta(hours=1), timedelta(hours=2)
    said = {
        "all": "all fields, the balances after the transaction among them",
        "authorisation": "fields known at authorisation",
        "no-balances": "no balances",
    }[fields]
    about = f"PaySim rows, {said}, labels 1 hour late, scored from hour 2"
    if fields == "no-balances":
        rows = [row._replace(transaction=_without_balances(row.transaction)) for row in rows]
    stream = stream_of(f"paysim/{fields}", about, rows, delay, score_from)
    if fields == "all":
        extra = _afterwards(stream.transactions)
        return replace(stream, extra=extra, extra_names=AFTERWARDS)
    return stream


def generated(
    kind: str, transactions: int | None = None, seed: int = 7, delay: timedelta = timedelta(hours=6)
) -> Stream:
    """The generator with a change at the end of day 6 of 12: `shift` or `pattern`.

    10,000 transactions a day; `shift` makes frauds ten times as frequent (0.5 % to 5 %), `pattern`
    (1 % throughout) lets structuring begin, of which nothing was seen before.
    """
    changed = 6.0
    if kind == "shift":
        scenario = Scenario(
            seed=seed, fraud_rate=0.005, clients=10_000, shifts=(Shift(changed, 10.0),)
        )
        said = "frauds ten times as frequent from day 6"
    else:
        scenario = Scenario(
            seed=seed,
            fraud_rate=0.01,
            clients=10_000,
            new_patterns=(NewPattern(changed, "structuring"),),
        )
        said = "a new fraud pattern from day 6"
    rows = itertools.chain.from_iterable(generate(scenario, days=12, transactions=transactions))
    hours = delay / timedelta(hours=1)
    about = f"generator, {said} of 12, labels {hours:g} hours late, scored from day 2"
    stream = stream_of(f"generator/{kind}", about, rows, delay, timedelta(days=2))
    return replace(stream, drift_seconds=scenario.start.timestamp() + changed * DAY)


def thinned(stream: Stream, legitimate_per_fraud: float, seed: int = 7) -> Stream:
    """Drop legitimate rows, or else frauds, at random until there are so many to one fraud.

    Thinned as by `weir evaluate --thin-legitimate` or `--thin-frauds` with the same seed.
    """
    frauds = int(stream.frauds.sum())
    rate = legitimate_per_fraud * frauds / max(len(stream) - frauds, 1)
    coins = Distortion(seed, keep_frauds=min(1.0, 1 / rate), keep_legitimate=min(1.0, rate))
    kept = [
        i
        for i, tx in enumerate(stream.transactions)
        if coins.keeps(tx.transaction_id, bool(stream.frauds[i]))
    ]
    return replace(
        stream,
        name=f"{stream.name}/1:{legitimate_per_fraud:g}",
        about=f"{stream.about}, one fraud to {legitimate_per_fraud:,g} legitimate",
        transactions=[stream.transactions[i] for i in kept],
        times_seconds=stream.times_seconds[kept],
        frauds=stream.frauds[kept],
        labels=stream.labels[kept],
        labelled=stream.labelled[kept],
        extra=None if stream.extra is None else stream.extra[kept],
    )


def mislabelled(stream: Stream, missing: float = 0.0, wrong: float = 0.0, seed: int = 7) -> Stream:
    """Let a share of the labels never come, and a share, of either class, say the opposite."""
    coins = Distortion(seed, label_fraction=1 - missing, wrong_labels=wrong)
    told = [
        coins.label(tx, bool(fraud))
        for tx, fraud in zip(stream.transactions, stream.frauds, strict=True)
    ]
    name, about = stream.name, stream.about
    if missing:
        name, about = f"{name}/missing", f"{about}, {missing:.0%} of labels missing"
    if wrong:
        name, about = f"{name}/wrong", f"{about}, {wrong:.0%} of labels wrong"
    return replace(
        stream,
        name=name,
        about=about,
        labels=np.array([label is True for label in told], dtype=np.bool_),
        labelled=stream.labelled & np.array([label is not None for label in told], dtype=np.bool_),
    )


def ranked(
    card_data: Path | None, paysim_data: Path | None, transactions: int | None, days: float | None
) -> dict[str, Callable[[], Stream]]:
    """Return, by name, how to make the streams of the first table, as far as there is data."""
    made: dict[str, Callable[[], Stream]] = {}
    if card_data is not None:
        made["card"] = lambda: card(card_data, transactions, days)
    if paysim_data is not None:
        for fields in ("all", "authorisation", "no-balances"):
            made[f"paysim/{fields}"] = lambda fields=fields: paysim(  # type: ignore[misc]
                paysim_data, transactions, fields
            )
    for kind in ("shift", "pattern"):
        made[f"generator/{kind}"] = lambda kind=kind: generated(kind, transactions)  # type: ignore[misc]
    return made


def robustness(
    card_data: Path, transactions: int | None, days: float | None
) -> dict[str, Callable[[], Stream]]:
    """Return, by name, how to make the card stream thinned and with bad labels."""
    held: list[Stream] = []  # read once, when the first of them is asked for

    def base() -> Stream:
        if not held:
            held.append(card(card_data, transactions, days))
        return held[0]

    made: dict[str, Callable[[], Stream]] = {}
    for ratio in (20.0, 200.0, 2000.0):
        made[f"card/1:{ratio:g}"] = lambda ratio=ratio: thinned(base(), ratio)  # type: ignore[misc]
    made["card/missing"] = lambda: mislabelled(base(), missing=0.3)
    made["card/wrong"] = lambda: mislabelled(base(), wrong=0.05)
    return made


def _read(data: Path, columns: str, transactions: int | None) -> list[Row]:
    origin = settings().step_origin
    chunks = read_table(data, COLUMNS[columns], limit=transactions, step_origin=origin)
    return list(itertools.chain.from_iterable(chunks))


def _without_balances(transaction: Transaction) -> Transaction:
    names = ("oldbalanceOrg", "newbalanceOrig", "oldbalanceDest", "newbalanceDest")
    return transaction.model_copy(update=dict.fromkeys(names))


def _afterwards(transactions: Sequence[Transaction]) -> NDArray[np.float32]:
    """Columns of `AFTERWARDS`, shape (n, 4); signed logarithms, 0 where a balance is absent."""

    def of(name: str) -> Floats:
        return np.array([getattr(tx, name) for tx in transactions], dtype=np.float64)

    amount, after, dest_after = of("amount"), of("newbalanceOrig"), of("newbalanceDest")
    orig_gap = of("oldbalanceOrg") - amount - after
    dest_gap = of("oldbalanceDest") + amount - dest_after
    columns = np.column_stack([after, dest_after, orig_gap, dest_gap])
    signed = np.sign(columns) * np.log1p(np.abs(columns))
    extra: NDArray[np.float32] = np.nan_to_num(signed).astype(np.float32)
    return extra
