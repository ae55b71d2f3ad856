"""Feedback on alerts and delayed labels: one pool of examples, or learners of their own?

    python benchmarks/feedback.py FILE --columns card --alerts 100 --feedback-delay 1d

Every day the highest `--alerts` scores are alerts, which investigators label soon; every other
transaction gets its label after `--label-delay`. Dal Pozzolo, Boracchi, Caelen, Alippi and
Bontempi, "Credit card fraud detection: a realistic modeling and a novel learning strategy" (IEEE
TNNLS 29, 2018) keep the two apart: a classifier of the feedback alone and one of the delayed labels
alone, whose posteriors are averaged. The rows:

late    no feedback: what alerts turned out to be comes as late as everything else
pool    one detector learns every label when it comes
apart   one learns the feedback, another all labels when they are as old as the delayed ones;
        both see the same features, and accounts know every label when it comes
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np

from producers.options import duration
from producers.replay import COLUMNS, read_table
from stream.core.committee import Votes
from stream.core.detector import Detector
from stream.core.evaluate import Row, Scorecard, outcomes, slices
from stream.core.features import Floats, Rows
from stream.core.model import Model
from stream.core.threshold import MAX_SCORE
from stream.events import Example, Label, utc
from stream.settings import Settings

ROWS = ("late", "pool", "apart")


class Apart(Model):
    """Two models: the feedback's, and this one, which learns all labels, each after `delay`."""

    def __init__(self, settings: Settings, delay: timedelta) -> None:
        super().__init__(settings)
        self.delay = delay
        self.feedback = Model(settings)
        self._early: deque[Example] = deque()

    def learn(self, example: Example) -> None:
        if example.source == "analyst":
            self.feedback.learn(example)
            self._early.append(example)
            return
        while self._early and self._early[0].timestamp + self.delay <= example.labelled_at:
            super().learn(self._early.popleft())
        super().learn(example)

    def scored(self, names: tuple[str, ...], rows: Rows) -> tuple[Floats, Votes]:
        scores, votes = super().scored(names, rows)
        both = scores + self.feedback.scores(names, rows)
        return np.minimum(both / 2.0, MAX_SCORE), votes


def played(
    detector: Detector, rows: Sequence[Row], feedback: timedelta, delay: timedelta, card: Scorecard
) -> None:
    """Run the detector over rows; alerts get their label `feedback` later, the others `delay`."""
    detector.open(0)
    settings = detector.settings
    due: list[tuple[int, int, Label]] = []
    count = itertools.count()
    for slice_, batch, _ in slices(rows, settings.step_origin, settings.align_seconds):
        labels = []
        while due and due[0][0] <= slice_:
            labels.append(heapq.heappop(due)[2])
        _, examples = detector.on_labels(0, labels)
        detector.on_examples(examples, detector.model.position + len(examples))
        decisions = detector.on_transactions(0, [tx for tx, _ in batch])
        frauds = outcomes(decisions, batch)
        card.begin(float(decisions.times_seconds[0]))
        card.grade(decisions, frauds)
        for tx, seconds, alerted, fraud in zip(
            decisions.transactions, decisions.times_seconds, decisions.alerts, frauds, strict=True
        ):
            soon = bool(alerted) and feedback < delay
            at = utc(float(seconds)) + (feedback if soon else delay)
            label = Label(
                transaction_id=tx.transaction_id,
                is_fraud=bool(fraud),
                labelled_at=at,
                source="analyst" if soon else "chargeback",
            )
            due_slice = math.ceil(at.timestamp() / settings.align_seconds)
            heapq.heappush(due, (due_slice, next(count), label))


def main() -> None:
    """Print a table, a row for each way to learn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--columns", choices=tuple(COLUMNS), default="card")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW")
    parser.add_argument("--alerts", type=int, default=100, metavar="N", help="alerts per day")
    parser.add_argument("--feedback-delay", type=duration, default=timedelta(days=1))
    parser.add_argument("--label-delay", type=duration, default=timedelta(days=7))
    parser.add_argument("--score-from", type=duration, default=timedelta(days=60))
    parser.add_argument("--transactions", type=int, metavar="N", help="only so many")
    parser.add_argument("--seed", type=int, default=Settings().seed, help="of the learners")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    settings = Settings(threshold=f"alert_budget:{args.alerts}/1d", seed=args.seed)
    chunks = read_table(
        args.file, COLUMNS[args.columns], limit=args.transactions, step_origin=settings.step_origin
    )
    rows: list[Row] = [
        (r.transaction, bool(r.is_fraud)) for r in itertools.chain.from_iterable(chunks)
    ]
    print(f"{'':<8}{'average precision':>18}{'log loss':>10}{'precision':>11}{'recall':>8}")
    figures = {}
    for row in args.rows:
        model = Apart(settings, args.label_delay) if row == "apart" else Model(settings)
        card = Scorecard(args.score_from)
        feedback = args.label_delay if row == "late" else args.feedback_delay
        played(Detector(settings, model), rows, feedback, args.label_delay, card)
        figures[row] = found = card.quality().asdict()
        print(
            f"{row:<8}{found['average_precision']:>18.4f}{found['log_loss']:>10.5f}"
            f"{found['precision']:>11.4f}{found['recall']:>8.4f}",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
