"""Whether each threshold policy keeps what it promises, by the real detector over a table.

    python benchmarks/thresholds.py FILE --columns card --label-delay 7d --score-from 60d

The detector runs once; every policy decides on the same scores, each with its own threshold and
alert budget as production has them. What a policy reached is set beside the best fixed threshold in
hindsight, which no policy can know.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producers.options import duration
from producers.replay import COLUMNS, read_table
from stream.core.curve import RollingCurve
from stream.core.detector import Decisions, Detector
from stream.core.evaluate import Row, Scorecard, evaluate
from stream.core.model import Model
from stream.core.policies import AlertBudget, Cost, FBeta, PrecisionAtLeast, parse_policy
from stream.events import Example
from stream.settings import Settings

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

POLICIES = (
    *("f_beta:1", "f_beta:2", "precision_at_least:0.8", "precision_at_least:0.9"),
    *("recall_at_least:0.7", "cost:1", "cost:5", "cost:20"),
    *("alert_budget:20/1d", "alert_budget:100/1d", "alert_budget:300/1d"),
)


@dataclass(slots=True)
class Trial:
    """One policy beside the detector: a detector that never scores, and the alerts it had."""

    policy: str
    decider: Detector
    alerts: list[Bools] = field(default_factory=list)

    def decide(self, decisions: Decisions) -> None:
        by_budget = self.decider.shards[0].budget.decide(decisions.times_seconds, decisions.scores)
        value = self.decider.model.threshold.value
        self.alerts.append(decisions.scores >= (by_budget if value is None else value))


class Watched(Detector):
    """A detector that lets trials decide on its scores and learn its examples."""

    trials: list[Trial]

    def on_transactions(self, partition: int, batch: Any) -> Decisions:
        decisions = Detector.on_transactions(self, partition, batch)
        self.decided.append(decisions)
        for trial in self.trials:
            trial.decide(decisions)
        return decisions

    decided: list[Decisions]


class Judged(Model):
    """A model whose matured examples go on the curves of all trials."""

    trials: list[Trial]

    def judge(self, example: Example, score: float) -> None:
        super().judge(example, score)
        for trial in self.trials:
            trial.decider.model.judge(example, score)


def run(rows: list[Row], delay: timedelta, given: dict[str, Any], missing: float) -> Watched:
    """Run the detector over the rows, with so great a share of the labels missing."""
    settings = Settings(**given)
    model = Judged(settings)
    detector = Watched(settings, model)
    detector.decided = []
    model.trials = detector.trials = []
    for policy in POLICIES:
        chosen = Settings(**given | {"threshold": policy})
        decider = Detector(chosen, Model(chosen))
        decider.open(0)
        detector.trials.append(Trial(policy, decider))
    chance = np.random.default_rng(settings.seed)
    evaluate(
        detector,
        rows,
        delay,
        Scorecard(),
        label_of=lambda _, is_fraud: None if chance.random() < missing else is_fraud,
    )
    return detector


def graded(trial: Trial, detector: Watched, rows: list[Row], from_seconds: float) -> dict[str, Any]:
    """Return what a policy reached from a moment on, and what the best fixed threshold would."""
    truth = {tx.transaction_id: bool(is_fraud) for tx, is_fraud in rows}
    decided = [tx for decisions in detector.decided for tx in decisions.transactions]
    times = np.concatenate([decisions.times_seconds for decisions in detector.decided])
    late = times >= times[0] + from_seconds
    frauds = np.array([truth[tx.transaction_id] for tx in decided])[late]
    amounts = np.array([tx.amount for tx in decided])[late]
    scores = np.concatenate([decisions.scores for decisions in detector.decided])[late]
    alerts = np.concatenate(trial.alerts)[late]
    caught, false = int((alerts & frauds).sum()), int((alerts & ~frauds).sum())
    found: dict[str, Any] = {
        "precision": caught / max(caught + false, 1),
        "recall": caught / int(frauds.sum()),
    }
    hindsight = RollingCurve(len(scores), len(scores))
    for row in zip(scores, frauds, np.ones(len(scores)), amounts, strict=True):
        hindsight.add(*row)
    curve, policy = hindsight.points(), parse_policy(trial.policy)
    if isinstance(policy, FBeta):
        b2 = policy.beta**2
        reached = (1 + b2) * caught / (caught + false + b2 * frauds.sum())
        found |= {"share_of_best": reached / float(curve.f(policy.beta).max())}
    elif isinstance(policy, Cost):
        reached = amounts[frauds & ~alerts].sum() + policy.false_alarm * false
        found |= {"cost": reached, "over_best": reached / float(policy.loss(curve).min())}
    elif isinstance(policy, AlertBudget):
        period = policy.period_seconds or detector.settings.window_seconds
        periods = (times[late] // period).astype(int)
        counts = np.bincount(periods - periods[0], weights=alerts)[1:-1]
        near = np.abs(counts - policy.count) <= 0.05 * policy.count
        found |= {"periods_within_5_percent": float(near.mean()), "most": float(counts.max())}
    elif isinstance(policy, PrecisionAtLeast):
        best = curve.recall[curve.precision >= policy.floor]
        found |= {"best_recall": float(best.max()) if len(best) else None}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--columns", choices=tuple(COLUMNS), default="card")
    parser.add_argument("--learner", default="auto")
    parser.add_argument("--transactions", type=int, help="only so many")
    parser.add_argument("--label-delay", type=duration, default=timedelta(days=7))
    parser.add_argument("--score-from", type=duration, default=timedelta(days=60))
    parser.add_argument(
        "--missing", type=float, default=0.0, help="share of labels that never come"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    chunks = read_table(
        args.file,
        COLUMNS[args.columns],
        limit=args.transactions,
        step_origin=Settings().step_origin,
    )
    rows: list[Row]
    rows = [(r.transaction, bool(r.is_fraud)) for r in itertools.chain.from_iterable(chunks)]
    detector = run(rows, args.label_delay, {"learner": args.learner}, args.missing)
    from_seconds = args.score_from.total_seconds()
    figures = {t.policy: graded(t, detector, rows, from_seconds) for t in detector.trials}
    for policy, found in figures.items():
        shown = ", ".join(
            f"{name.replace('_', ' ')} {value:.4g}" for name, value in found.items() if value
        )
        print(f"{policy:<24}{shown}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
