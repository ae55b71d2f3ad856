"""Do the reasons of an alert name the pattern behind the fraud?

    python -m benchmarks.reasons --transactions 100000 --fraud-rate 0.005 --seed 7

The generator knows the pattern behind each fraud. Its stream goes through the detector with labels
that come late, and each true alert counts as a hit where one of its top three reasons is a mark of
its pattern: what a fraud examiner would name, from what `producers.fraud` lets the fraudster do.
`MARKS` says which, with the side of the habit on which the value has to lie; a half-life does not
matter. Type, time of day and novelty are no pattern's mark; neither is the known fraud of an
account, however good a reason it is: it is counted apart.

own          share of the true alerts with a mark among the top three reasons
first        with a mark as the strongest reason
chance       as own, were three families of features drawn, and a member of each
constant     as own, were it for each alert the same three features, the best with hindsight
known        share with an earlier fraud of one of the accounts among the top three

Alerts before the first label have no reasons, as nothing is known to be legitimate. They count as
misses. Cost is processor time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from producers.options import duration
from producers.paysim import Scenario, generate
from stream.core.committee import Votes
from stream.core.detector import Before, Decisions, Detector
from stream.core.evaluate import Scorecard, evaluate
from stream.core.explain import reasons
from stream.core.families import CIRCUMSTANCES, KIND, family, without_half_life
from stream.core.features import Floats, Rows
from stream.core.model import Model
from stream.core.wire import AnyTransaction
from stream.events import Reason
from stream.settings import Settings

Bools = NDArray[np.bool_]

SMALL = 2_000
"""A probe's small amounts lie below, its large one mostly above."""
ABOVE, BELOW = True, False
_OFTEN = {"orig_count": ABOVE, "orig_since": BELOW}
_OFTEN_PAID = {"dest_count": ABOVE, "dest_since": BELOW}
_ALL_THERE_IS = {"drains": ABOVE, "amount_to_balance": ABOVE}
MARKS: dict[str, dict[str, bool]] = {
    # The whole balance, or nearly, goes; a mule cashes out what has just come in: all there is.
    "drain TRANSFER": _ALL_THERE_IS,
    "drain CASH_OUT": _ALL_THERE_IS | {"orig_turned": BELOW},
    # Many pay one account within hours, which has paid nobody; it cashes out in parts.
    "mule TRANSFER": _OFTEN_PAID | {"dest_turned": ABOVE},
    "mule CASH_OUT": _OFTEN | {"orig_turned": BELOW},
    # Small amounts soon after each other, then one that is large for the account.
    "probe small": _OFTEN
    | {"amount": BELOW, "orig_amount_ratio": BELOW, "orig_amount_unusual": BELOW},
    "probe large": _OFTEN | {"orig_amount_ratio": ABOVE, "orig_amount_unusual": ABOVE},
    # Large amounts, one after the other: from one account, and to one where they are transfers.
    "structuring TRANSFER": _OFTEN | _OFTEN_PAID | {"amount": ABOVE},
    "structuring CASH_OUT": _OFTEN | {"amount": ABOVE},
}
"""By pattern and step: marks, and the side of the habit on which each lies."""


class Told(NamedTuple):
    """A true alert: its step, its reasons, and which features are marks of it, shape (d,)."""

    step: str
    reasons: tuple[Reason, ...]
    marks: Bools


class Timed(Model):
    """A model that times its scoring, and keeps the rows."""

    busy_seconds = 0.0
    rows: Rows

    def scored(self, names: tuple[str, ...], rows: Rows) -> tuple[Floats, Votes]:
        self.rows = rows
        begun = time.process_time()
        found = super().scored(names, rows)
        self.busy_seconds += time.process_time() - begun
        return found


class Watched(Detector):
    """A detector that keeps its true alerts, and explains all alerts once more to time it."""

    def watch(self, timed: Timed, patterns: dict[str, str | None]) -> None:
        self.timed = timed
        self.patterns = patterns
        self.told: list[Told] = []
        self.alerts = self.transactions = 0
        self.busy_seconds = self.reasons_seconds = 0.0

    def on_transactions(
        self, partition: int, batch: Sequence[AnyTransaction], before: Before | None = None
    ) -> Decisions:
        begun = time.process_time()
        decisions = super().on_transactions(partition, batch, before)
        self.busy_seconds += time.process_time() - begun
        self.transactions += len(decisions.transactions)
        if not decisions.alerts.any():
            return decisions
        names, rows = self.shards[partition].features.names, self.timed.rows[decisions.alerts]
        begun = time.process_time()
        usual = self.model.habit.usual(names, rows)
        found = reasons(names, rows, usual, partial(self.model.log_odds, names))
        self.reasons_seconds += time.process_time() - begun
        if found != [why.reasons for why in decisions.why]:
            raise SystemExit("the reasons timed are not those that were given")
        self.alerts += len(found)
        alerted = itertools.compress(decisions.transactions, decisions.alerts)
        for tx, row, habit, each in zip(alerted, rows, usual, found, strict=True):
            pattern = self.patterns[tx.transaction_id]
            if pattern is not None:
                step = _step(pattern, tx)
                self.told.append(Told(step, each, _marks(step, names, row, habit)))
        return decisions


def _step(pattern: str, tx: AnyTransaction) -> str:
    if pattern == "probe":
        return "probe small" if tx.amount < SMALL else "probe large"
    return f"{pattern} {tx.type}"


def _marks(step: str, names: Sequence[str], row: Rows, habit: Floats) -> Bools:
    """Return which features are marks of this step and lie on the right side of the habit."""
    sides = [MARKS[step].get(without_half_life(name)) for name in names]
    return np.array(
        [
            (side is ABOVE and value > usual) or (side is BELOW and value < usual)
            for side, value, usual in zip(sides, row.tolist(), habit.tolist(), strict=True)
        ]
    )


def graded(told: Sequence[Told], names: Sequence[str]) -> dict[str, float]:
    """Return the figures of some true alerts."""
    at = {name: i for i, name in enumerate(names)}
    hits = [[bool(each.marks[at[r.feature]]) for r in each.reasons] for each in told]
    known = [any(r.feature.partition("_")[2].startswith("fraud") for r in t.reasons) for t in told]
    return {
        "alerts": len(told),
        "own": float(np.mean([any(hit) for hit in hits])),
        "first": float(np.mean([hit[:1] == [True] for hit in hits])),
        "chance": float(np.mean([chance(each.marks, names) for each in told])),
        "constant": constant(np.array([each.marks for each in told])),
        "known": float(np.mean(known)),
    }


def chance(marks: Bools, names: Sequence[str]) -> float:
    """Return the chance of a mark among one member each of three families drawn, of those told."""
    families = defaultdict(list)
    for name, mark in zip(names, marks.tolist(), strict=True):
        families[family(name)].append(mark)
    misses = [
        1.0 - float(np.mean(marked))
        for name, marked in families.items()
        if name != KIND and name not in CIRCUMSTANCES
    ]
    return 1.0 - float(np.mean([np.prod(three) for three in itertools.combinations(misses, 3)]))


def constant(marks: Bools) -> float:
    """Return the share of alerts hit by the three features that hit most; marks: shape (n, d)."""
    found = 0
    useful = np.flatnonzero(marks.any(axis=0)).tolist()
    for one, other in itertools.combinations(useful, 2):
        either = marks[:, one] | marks[:, other]
        rest = marks[~either].sum(axis=0).max() if not either.all() else 0
        found = max(found, int(either.sum() + rest))
    return found / len(marks)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--transactions", type=int, default=100_000, metavar="N")
    parser.add_argument("--fraud-rate", type=float, default=0.005, metavar="SHARE")
    parser.add_argument("--clients", type=int, default=5_000, metavar="N")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="of the generator")
    parser.add_argument("--label-delay", type=duration, default=timedelta(days=1))
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    scenario = Scenario(seed=args.seed, fraud_rate=args.fraud_rate, clients=args.clients)
    rows = list(itertools.chain(*generate(scenario, transactions=args.transactions)))
    settings = Settings()
    model = Timed(settings)
    detector = Watched(settings, model)
    detector.watch(model, {row.transaction.transaction_id: row.pattern for row in rows})
    known = [(row.transaction, bool(row.is_fraud)) for row in rows]
    evaluate(detector, known, args.label_delay, Scorecard())

    names, steps = detector.shards[0].features.names, defaultdict(list)
    for each in detector.told:
        steps[each.step].append(each)
    groups = {**dict(sorted(steps.items())), "all": detector.told}
    table = {step: graded(told, names) for step, told in groups.items() if told}
    print(f"{'':<22}{'true alerts':>11}" + "".join(f"{n:>10}" for n in [*table["all"]][1:]))
    for step, found in table.items():
        count, *shares = found.values()
        print(f"{step:<22}{count:>11}" + "".join(f"{100 * s:>8.1f} %" for s in shares))
    cost = {
        "reasons_us_per_alert": 1e6 * detector.reasons_seconds / max(detector.alerts, 1),
        "score_us_per_transaction": 1e6 * model.busy_seconds / detector.transactions,
        "decide_us_per_transaction": 1e6 * detector.busy_seconds / detector.transactions,
        "alerts_per_transaction": detector.alerts / detector.transactions,
    }
    us = cost["reasons_us_per_alert"]
    print(
        f"\nreasons: {us:,.0f} µs per alert, {us / cost['score_us_per_transaction']:.0f} times the "
        f"{cost['score_us_per_transaction']:.1f} µs of scoring a transaction; with one alert in "
        f"{1 / cost['alerts_per_transaction']:.0f}, {us * cost['alerts_per_transaction']:.1f} of "
        f"the {cost['decide_us_per_transaction']:.1f} µs from features to decision"
    )
    if args.json:
        args.json.write_text(json.dumps({"steps": table, "cost": cost}, indent=2) + "\n")


if __name__ == "__main__":
    main()
