"""A soak: do the memory of a worker and its time per transaction level off, and what does each
thing that it holds take?

    python -m benchmarks.soak --transactions 5000000 --accounts 500000 --label-delay 7d

Runs the detector over a stream as a worker does, labels `--label-delay` after their transaction,
trees fitted in the background, and writes down its resident memory fifty times. Writes a snapshot,
as a worker with a state directory does every `WEIR_CHECKPOINT_SECONDS`. Then lets one thing at a
time grow, each in a fresh process, and says by how much resident memory grew for one of it. Ends
with 1 where the memory of the run grew by more than `--tolerance` over its last third.

The stream is drawn here, slice after slice, and nothing of its past is kept but the frauds among
what has no label yet: `producers.paysim` lives on the accounts of its clients, whose number comes
with the traffic, while this one gives as many accounts to any traffic. Every fifth transaction is
of the next account in turn, so that all have been seen after five times as many transactions; the
others are popular by the square of a uniform number. Some pay by habit, and 0.2 % are frauds: a
transfer that empties the account to one of a few accounts that change daily.

Time is the processor time of the handlers, fits in the background included. A machine that others
use is slower at one moment than at the next, so a fixed piece of work, the yardstick, is timed
between slices, too. What the last million transactions cost, over the second million, is both in
microseconds and in yardsticks.

Memory is read from /proc, so this runs on Linux only.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from benchmarks.yardstick import Yardstick
from producers.options import duration
from stream.core.accounts import Accounts
from stream.core.boosted import BoostedTrees
from stream.core.detector import Detector
from stream.core.features import feature_names
from stream.core.model import Model
from stream.core.pending import Pending
from stream.core.scored import Scored
from stream.core.segments import Segments
from stream.core.windows import Windows
from stream.events import Label, Transaction, utc
from stream.io.background import Background
from stream.io.bus import Record
from stream.io.checkpoint import Checkpoint
from stream.io.intake import Intake
from stream.io.packing import Packer, pieces
from stream.io.state import CHUNK_BYTES, frozen
from stream.settings import Settings

DAY = 86_400.0
MB = 1024 * 1024
SAMPLES = 50
FRAUD_RATE = 0.002
MULES = 20
"""Accounts that take what is stolen, on any one day."""
EXAMPLES = 100_000
"""Of a boosted member: all that it may keep."""

_TRANSACTIONS = TypeAdapter(list[Transaction])


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    """Return the most that was resident since the start, or since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Have `peak_bytes` begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


class Slice(NamedTuple):
    """The transactions of a stretch of event time."""

    transactions: list[Transaction]
    times_seconds: NDArray[np.float64]
    frauds: NDArray[np.bool_]


def drawn(
    transactions: int, accounts: int, days: float, settings: Settings, seed: int = 7
) -> Iterator[Slice]:
    """Yield the stream, evenly over so many days, in the settings' slices of event time."""
    rng = np.random.default_rng(seed)
    begin, seconds = settings.step_origin.timestamp(), float(settings.align_seconds)
    per_slice = transactions * seconds / (days * DAY)
    first = 0
    while first < transactions:
        number = math.floor(first / per_slice)
        last = min(max(math.ceil((number + 1) * per_slice), first + 1), transactions)
        numbers = np.arange(first, last)
        times = begin + number * seconds + np.sort(rng.random(len(numbers))) * (seconds - 0.001)
        yield _drawn(rng, numbers, accounts, np.round(times, 3))
        first = last


def _drawn(
    rng: np.random.Generator,
    numbers: NDArray[np.int64],
    accounts: int,
    times: NDArray[np.float64],
) -> Slice:
    n = len(numbers)
    origins, others = (accounts * rng.random((2, n)) ** 2).astype(np.int64)
    origins = np.where(numbers % 5 == 0, numbers // 5 % accounts, origins)
    frauds = rng.random(n) < FRAUD_RATE
    mules = ((times // DAY).astype(np.int64) * MULES + rng.integers(MULES, size=n)) % accounts
    others = np.where(frauds, mules, others)
    habit = 30.0 * (1.0 + origins % 97)
    balances = np.round(habit * rng.lognormal(2.0, 0.8, n), 2)
    amounts = np.round(np.minimum(habit * rng.lognormal(0.0, 0.7, n), balances), 2)
    # Some frauds leave a rest, and some honest people empty their account.
    drains = rng.random(n) < np.where(frauds, 0.7, 0.002)
    amounts = np.where(drains, balances, np.where(frauds, np.round(0.8 * balances, 2), amounts))
    kinds = np.where(
        ~frauds & (others % 5 == 0),
        "PAYMENT",
        np.where(frauds | (origins % 3 == 0), "TRANSFER", "CASH_OUT"),
    )
    columns = (numbers, kinds, amounts, origins, others, balances, times)
    rows = [
        {
            "transaction_id": f"soak-{number}",
            "type": kind,
            "amount": amount,
            "nameOrig": _name(origin),
            "nameDest": _name(other),
            "oldbalanceOrg": balance,
            "timestamp": utc(seconds),
        }
        for number, kind, amount, origin, other, balance, seconds in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]
    return Slice(_TRANSACTIONS.validate_python(rows), times, frauds)


def _name(account: int) -> str:
    return f"{'C' if account % 5 else 'M'}{1_000_000_000 + account}"


class LateLabels:
    """The labels on their way, as numbers: in production they wait on the labels topic."""

    def __init__(self, delay: timedelta, slice_seconds: int) -> None:
        self._delay_seconds = delay.total_seconds()
        self._slice_seconds = slice_seconds
        self._first = 0
        self._waiting: deque[tuple[int, NDArray[np.float64], NDArray[np.bool_]]] = deque()

    def add(self, new: Slice) -> None:
        """Have the labels of these transactions come later; transactions are numbered from 0."""
        self._waiting.append((self._first, new.times_seconds + self._delay_seconds, new.frauds))
        self._first += len(new.frauds)

    def due(self, until_seconds: float) -> Iterator[list[Label]]:
        """Yield the labels that come up to this time, as they were sliced."""
        while self._waiting and self._waiting[0][1][-1] <= until_seconds:
            first, times, frauds = self._waiting.popleft()
            yield [
                Label(
                    transaction_id=f"soak-{number}",
                    is_fraud=is_fraud,
                    labelled_at=utc(seconds),
                    source="chargeback",
                )
                for number, (seconds, is_fraud) in enumerate(
                    zip(times.tolist(), frauds.tolist(), strict=True), first
                )
            ]


@dataclass(frozen=True, slots=True)
class Sample:
    """What was held at a moment of the run."""

    transactions: int
    day: float
    resident_mb: float
    accounts: int
    evicted: int
    pending: int
    expired: int
    windows: int
    learned: int
    handling_us: float = 0.0
    """Processor time per transaction since the sample before."""
    yardstick_us: float = 0.0
    """That of the yardstick, in the same span."""


class Times:
    """Processor time of the handlers and of a yardstick. `fitting` works for the handlers."""

    def __init__(self, fitting: Background) -> None:
        self.yardstick = Yardstick()
        self._fitting = fitting
        self._fitted = self._handled = 0.0

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Count what is done in it as handling."""
        begun = time.thread_time()
        yield
        self._handled += time.thread_time() - begun

    def take(self, transactions: int) -> dict[str, float]:
        """Return the times of a sample since the last, for so many transactions."""
        fitted, self._fitted = self._fitting.seconds - self._fitted, self._fitting.seconds
        handled, self._handled = self._handled + fitted, 0.0
        return {
            "handling_us": round(1e6 * handled / transactions, 2),
            "yardstick_us": round(self.yardstick.take(), 2),
        }


def soaked(
    settings: Settings,
    transactions: int,
    accounts: int,
    days: float,
    label_delay: timedelta,
    *,
    told: Callable[[Sample], None] = lambda _: None,
) -> tuple[list[Sample], Detector]:
    """Run the detector over the stream; return the samples and the detector as it is then."""
    detector = Detector(settings, Model(settings))
    shard = detector.open(0)
    late = LateLabels(label_delay, settings.align_seconds)
    samples: list[Sample] = []
    decided = 0
    begin = settings.step_origin.timestamp()
    with Background("fit") as fitting:
        detector.model.fit_in(fitting)
        times = Times(fitting)
        for new in drawn(transactions, accounts, days, settings):
            now = float(new.times_seconds[0]) // settings.align_seconds * settings.align_seconds
            for labels in late.due(now):
                with times.handling():
                    _, examples = detector.on_labels(0, labels)
                    detector.on_examples(examples, detector.model.position + len(examples))
            with times.handling():
                for i in range(0, len(new.transactions), settings.max_batch):
                    detector.on_transactions(0, new.transactions[i : i + settings.max_batch])
                shard.windows.changed()  # as a worker reports them
            late.add(new)
            decided += len(new.transactions)
            times.yardstick.measure()
            if decided * SAMPLES >= transactions * (len(samples) + 1):
                samples.append(
                    Sample(
                        transactions=decided,
                        day=round((now - begin) / DAY, 2),
                        resident_mb=round(resident_bytes() / MB, 1),
                        accounts=len(shard.features.accounts),
                        evicted=shard.features.accounts.evicted,
                        pending=len(shard.pending),
                        expired=shard.pending.expired,
                        windows=len(shard.windows),
                        learned=detector.model.learned,
                        **times.take(decided - (samples[-1].transactions if samples else 0)),
                    )
                )
                told(samples[-1])
    return samples, detector


def growth(samples: Sequence[Sample], share: float) -> float:
    """Return how much resident memory grew over the last `share` of the run, as a share of itself.

    From the median of the first fifth of that span to the median of its last fifth.

    >>> flat = [Sample(i, 0.0, 100.0 + min(i, 30), 0, 0, 0, 0, 0, 0) for i in range(60)]
    >>> growth(flat, 1 / 3), round(growth(flat, 1), 2)
    (0.0, 0.23)
    """
    span = [sample.resident_mb for sample in samples[-max(round(len(samples) * share), 1) :]]
    few = max(len(span) // 5, 1)
    before, after = float(np.median(span[:few])), float(np.median(span[-few:]))
    return after / before - 1.0


def costs_of_last_million(samples: Sequence[Sample]) -> dict[str, float]:
    """Return what the last million cost, over the second; {} where there is no third."""
    if samples[-1].transactions < 3_000_000:
        return {}
    spans: dict[str, list[Sample]] = {"second": [], "last": []}
    for sample in samples:
        if 1_000_000 < sample.transactions <= 2_000_000:
            spans["second"].append(sample)
        elif sample.transactions > samples[-1].transactions - 1_000_000:
            spans["last"].append(sample)
    us, sticks = (
        {name: float(np.mean([of(each) for each in span])) for name, span in spans.items()}
        for of in (lambda s: s.handling_us, lambda s: s.handling_us / s.yardstick_us)
    )
    return {
        "second_million_us": us["second"],
        "last_million_us": us["last"],
        "last_to_second_us": us["last"] / us["second"],
        "last_to_second_in_yardsticks": sticks["last"] / sticks["second"],
    }


def curve(values: Sequence[float], height: int = 8) -> str:
    """Return values as a picture of text, from 0 up to their largest.

    >>> print(curve([1.0, 2.0, 4.0, 4.0], height=2))
        4 |  ██
        2 |▄███
        0 +----
    """
    blocks, top = " ▁▂▃▄▅▆▇█", max(values)
    lines = []
    for row in range(height, 0, -1):
        filled = (min(max(value / top * height - row + 1, 0.0), 1.0) for value in values)
        lines.append(f"{top * row / height:5.0f} |" + "".join(blocks[round(8 * x)] for x in filled))
    return "\n".join([*lines, "    0 +" + "-" * len(values)])


def snapshot_cost(settings: Settings, detector: Detector) -> dict[str, float]:
    """Take both snapshots; return sizes and what they took beyond what was resident, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        before = resident_bytes()
        forget_peak()
        packer = Packer(CHUNK_BYTES)
        for piece in pieces(frozen(detector.shards[0])):
            packer.add(piece)  # what it returns goes out with the next commit
        checkpoint = Checkpoint(Path(folder), settings)
        checkpoint.save(detector.model)
        taken = peak_bytes() - before
        model = checkpoint.path.stat().st_size
    return {
        "account_snapshot_mb": round(packer.size_bytes / MB, 1),
        "model_snapshot_mb": round(model / MB, 1),
        "snapshot_peak_mb": round(taken / MB, 1),
    }


def cost_of_accounts(settings: Settings, count: int) -> float:
    """Return the bytes per account of a history of so many."""
    accounts = Accounts(settings.half_lives_hours, count)
    return _grown(settings, count, lambda new, _: _observe(accounts, new))


def _observe(accounts: Accounts, new: Slice) -> None:
    n = len(new.transactions)
    names = [f"A{tx.transaction_id}" for tx in new.transactions]
    accounts.observe(names, np.zeros(n, np.int64), new.times_seconds, np.ones(n))


def cost_of_pending(settings: Settings, count: int) -> float:
    """Return the bytes per transaction of so many that wait; names are the accounts' own."""
    names: dict[str, str] = {}
    width = len(feature_names(settings.transaction_types, settings.half_lives_hours))
    segments = Segments()
    pending = Pending(width, count, segments.fields)

    def add(new: Slice, rng: np.random.Generator) -> None:
        n = len(new.transactions)
        features = rng.random((n, width), np.float32)
        codes = segments.codes(new.transactions, np.ones(n))
        scored = Scored(new.times_seconds, rng.random(n), new.frauds, np.ones(n), codes)
        origins = [names.setdefault(tx.nameOrig, tx.nameOrig) for tx in new.transactions]
        destinations = [names.setdefault(tx.nameDest, tx.nameDest) for tx in new.transactions]
        pending.add(new.transactions, scored, features, accounts=(origins, destinations))

    return _grown(settings, count, add)


def cost_of_windows(settings: Settings, count: int) -> float:
    """Return the bytes per window of `max_windows`, each with `count / max_windows` transactions.

    Scores are as of one who is unsure: a normal distribution of log-odds, two wide.
    """
    windows, state = Windows(0, settings.window_seconds, settings.max_windows), {"threshold": 0.5}

    def add(new: Slice, rng: np.random.Generator) -> None:
        scores = 1.0 / (1.0 + np.exp(5.0 - 2.0 * rng.standard_normal(len(new.transactions))))
        amounts, alerts = np.ones(len(scores)), scores > 0.5
        codes = windows.segments.codes(new.transactions, amounts)
        scored = Scored(new.times_seconds, scores, alerts, amounts, codes)
        windows.decided(scored, state)
        windows.labelled(scored, new.frauds)
        windows.changed()

    days = settings.max_windows * settings.window_seconds / DAY
    return _grown(settings, count, add, days) * count / settings.max_windows


def cost_of_early_labels(settings: Settings, count: int) -> float:
    """Return the bytes per label that waits for its transaction; at most 100,000 may."""
    pending = Pending(1, 1, ())
    late = LateLabels(timedelta(), settings.align_seconds)

    def add(new: Slice, _: np.random.Generator) -> None:
        late.add(new)
        for labels in late.due(math.inf):
            pending.join(labels)

    return _grown(settings, min(count, 100_000), add)


def cost_of_buffered(settings: Settings, count: int) -> float:
    """Return the bytes per transaction that was read and waits for its time; at most 50,000 may.

    As it came from the bus, 250 bytes of JSON, and decoded.
    """
    intake = Intake(settings)
    intake.open(0)

    def add(new: Slice, _: np.random.Generator) -> None:
        intake.put(
            [
                Record(
                    *(settings.transactions_topic, 0, 0, round(1000 * seconds)),
                    *(tx.nameDest.encode(), tx.model_dump_json(exclude_none=True).encode(), ()),
                )
                for tx, seconds in zip(new.transactions, new.times_seconds.tolist(), strict=True)
            ]
        )

    return _grown(settings, min(count, 50_000), add)


def cost_of_boosted(settings: Settings, count: int) -> float:  # noqa: ARG001 - it has its own bound
    """Return the bytes that a boosted member takes which keeps all it may, its fits included."""
    rng, names = np.random.default_rng(1), feature_names(("A",) * 5, settings.half_lives_hours)
    for warm, held in ((True, 2_000), (False, EXAMPLES)):  # what is loaded with the first is shared
        trees = BoostedTrees(min_examples=held, max_examples=held, growth=1.0)
        gc.collect()
        forget_peak()
        before = resident_bytes()
        for i in range(held + held // 10):
            values = rng.random(len(names)).tolist()
            trees.learn_one(dict(zip(names, values, strict=True)), i % 20 == 0)
        if not warm:
            return float(peak_bytes() - before)
    raise AssertionError


def _grown(
    settings: Settings,
    count: int,
    add: Callable[[Slice, np.random.Generator], None],
    days: float = 50.0,
    accounts: int = 1_000,
) -> float:
    """Return the growth of resident memory per transaction while `count` of them are added."""
    rng = np.random.default_rng(1)
    gc.collect()
    before = resident_bytes()
    for new in drawn(count, accounts, days, settings):
        add(new, rng)
    gc.collect()
    return (resident_bytes() - before) / count


COSTS: dict[str, Callable[[Settings, int], float]] = {
    "account": cost_of_accounts,
    "pending transaction": cost_of_pending,
    "early label": cost_of_early_labels,
    "buffered transaction": cost_of_buffered,
    "window": cost_of_windows,
    "boosted member": cost_of_boosted,
}


def measured(name: str, count: int) -> float:
    """Return the bytes of one of a thing, measured in a process of its own."""
    run = [sys.executable, "-m", "benchmarks.soak", "--cost", name, "--accounts", str(count)]
    told = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(told)


def main() -> int:
    """Print the curve, the costs and the verdict; return 1 where memory does not level off."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--transactions", type=int, default=5_000_000, metavar="N")
    parser.add_argument("--accounts", type=int, default=500_000, metavar="N")
    parser.add_argument("--days", type=float, default=50.0, help="event time of the stream")
    parser.add_argument("--label-delay", type=duration, default=timedelta(days=7))
    parser.add_argument("--max-accounts", type=int, default=None, metavar="N")
    parser.add_argument("--max-pending", type=int, default=None, metavar="N")
    parser.add_argument("--tolerance", type=float, default=0.05, help="growth over the last third")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    parser.add_argument("--cost", choices=tuple(COSTS), help="only this, as bytes")
    args = parser.parse_args()
    bounds = {"max_accounts": args.max_accounts, "max_pending": args.max_pending}
    settings = Settings(**{name: bound for name, bound in bounds.items() if bound is not None})
    if args.cost:
        print(COSTS[args.cost](settings, args.accounts))
        return 0
    print(
        f"{args.transactions:,} transactions over {args.days:g} days, {args.accounts:,} accounts, "
        f"labels {args.label_delay / timedelta(days=1):g} days late\n"
        f"at most {settings.max_accounts:,} accounts and {settings.max_pending:,} pending\n\n"
        f"{'transactions':>12}{'day':>7}{'MB':>8}{'accounts':>10}{'evicted':>10}{'pending':>10}"
        f"{'expired':>10}{'windows':>9}{'learned':>10}{'us each':>9}{'yardstick':>11}",
        flush=True,
    )

    def told(s: Sample) -> None:
        print(
            f"{s.transactions:>12,}{s.day:>7.1f}{s.resident_mb:>8.0f}{s.accounts:>10,}"
            f"{s.evicted:>10,}{s.pending:>10,}{s.expired:>10,}{s.windows:>9,}{s.learned:>10,}"
            f"{s.handling_us:>9.1f}{s.yardstick_us:>11.0f}",
            flush=True,
        )

    samples, detector = soaked(
        settings, args.transactions, args.accounts, args.days, args.label_delay, told=told
    )
    figures: dict[str, float] = {
        "growth_last_half": growth(samples, 1 / 2),
        "growth_last_third": growth(samples, 1 / 3),
        "peak_mb": round(peak_bytes() / MB, 1),
        **costs_of_last_million(samples),
        **snapshot_cost(settings, detector),
    }
    costs = {name: measured(name, args.accounts) for name in COSTS}
    flat = figures["growth_last_third"] <= args.tolerance
    print(f"\nresident memory in MB\n{curve([sample.resident_mb for sample in samples])}\n")
    print(f"growth over the last half  {figures['growth_last_half']:+.1%}")
    print(f"growth over the last third {figures['growth_last_third']:+.1%}")
    print(f"most at any moment         {figures['peak_mb']:,.0f} MB")
    if "last_million_us" in figures:
        print(
            f"the last million           {figures['last_million_us']:.1f} us each, "
            f"{figures['last_to_second_us']:.3f} of the second; in yardsticks "
            f"{figures['last_to_second_in_yardsticks']:.3f}"
        )
    print(
        f"snapshots                  accounts {figures['account_snapshot_mb']:,.0f} MB, the model "
        f"{figures['model_snapshot_mb']:,.0f} MB, "
        f"{figures['snapshot_peak_mb']:,.0f} MB more for as long as they go out"
    )
    for name, cost in costs.items():
        print(f"{'an' if name[0] in 'ae' else 'a'} {name:<24} {cost:,.0f} bytes")
    print("memory levels off" if flat else "memory does not level off")
    if args.json:
        found = {**figures, "bytes": costs, "samples": [asdict(sample) for sample in samples]}
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
