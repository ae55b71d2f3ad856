"""The command: what was asked for, one run or several, and what is printed of them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from stream.core.detector import Detector
from stream.core.evaluate import Graded, Scorecard, evaluate
from stream.core.model import Model
from stream.core.own import OwnFeatures
from stream.evaluation import GradingError, RequestError
from stream.evaluation.figures import Figures, figures
from stream.evaluation.plan import Plan, in_words, plan_of
from stream.evaluation.printing import print_figures
from stream.evaluation.progress import Progress
from stream.evaluation.table import rows
from stream.evaluation.timeline import Moment, Timeline
from stream.settings import Settings


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation: its settings, figures, and all that the pictures are made of."""

    settings: Settings
    figures: Figures
    graded: Graded
    """Every transaction whose truth is known, those before `from_seconds` included."""
    begin_seconds: float
    from_seconds: float
    timeline: Timeline


def run_evaluation(settings: Settings, args: argparse.Namespace) -> int:
    """Evaluate once, or once for each strategy compared; print, and write what is asked for.

    Raises `RequestError`, `GradingError` and `TableError`. Returns the exit code.
    """
    strategies: Sequence[str] = args.compare or (settings.rebalance,)
    plan = plan_of(settings, args, strategies)
    runs: dict[str, Run] = {}
    for number, strategy in enumerate(strategies, start=1):
        of = settings.model_copy(update={"rebalance": strategy})
        note = f"{strategy} ({number}/{len(strategies)})" if args.compare else ""
        runs[strategy] = run(plan, of, note)
    found = {name: each.figures.asdict() for name, each in runs.items()}
    shown = found if args.compare else found[strategies[0]]
    if args.json:
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    else:
        print_figures({name: each.figures for name, each in runs.items()})
    if args.summary:
        args.summary.write_text(json.dumps(shown, indent=2) + "\n")
    if args.report:
        from stream.evaluation.report import write_report  # noqa: PLC0415 - matplotlib is extra

        page = write_report(args.report, plan, runs, args.command)
        sys.stderr.write(f"report: {page}\n")
    return 0


def run(plan: Plan, settings: Settings, note: str = "") -> Run:
    """Evaluate one detector over the table."""
    detector = _detector(settings)
    scorecard, timeline = Scorecard(plan.score_from), Timeline()
    table = rows(
        plan.path,
        plan.columns,
        plan.distortion,
        limit=plan.limit,
        step_origin=settings.step_origin,
    )
    with Progress(plan.size.rows if plan.size else None, note) as progress:

        def look(transactions: int) -> None:
            now = scorecard.newest_seconds
            if timeline.wants(now):
                timeline.add(_moment(now, detector))
            progress.advance(transactions, now)

        cpu, own = time.process_time(), time.thread_time()
        busy = evaluate(
            detector,
            table,
            plan.label_delay,
            scorecard,
            look,
            label_of=plan.distortion.label,
            clock=time.thread_time,
        )
        # All that the process has used, with threads of the learners' own, less what this thread
        # has spent on other things: reading the table, grading, the bar.
        busy = time.process_time() - cpu - (time.thread_time() - own - busy)
        done = progress.transactions
    graded = scorecard.graded()
    counted = graded.since(scorecard.from_seconds)
    first, last = scorecard.begin_seconds, scorecard.newest_seconds
    if first + plan.label_delay.total_seconds() > last:
        sys.stderr.write(_UNLEARNED.format(delay=in_words(plan.label_delay)))
    if not len(counted.times_seconds) or not counted.frauds.any():
        raise GradingError(_nothing(plan, graded, counted))
    return Run(
        settings,
        figures(
            counted,
            false_alarm_cost=plan.false_alarm_cost,
            microseconds_per_transaction=busy / done * 1e6,
        ),
        graded,
        scorecard.begin_seconds,
        scorecard.from_seconds,
        timeline,
    )


_UNLEARNED = (
    "note: nothing was learned before the table ended: its labels come {delay} late "
    "(--label-delay). What is graded is a detector that knows no label.\n"
)


def _detector(settings: Settings) -> Detector:
    """The detector asked for; what the user brought along is tried here, before the run."""
    try:
        OwnFeatures(settings.features)
        return Detector(settings, Model(settings))
    except ValueError as error:  # a learner, policy or features not known
        raise RequestError(str(error)) from error


def _moment(now: float, detector: Detector) -> Moment:
    model = detector.model
    return Moment(now, detector.threshold, model.state(), model.weights())


def _nothing(plan: Plan, graded: Graded, counted: Graded) -> str:
    """Why there is nothing to grade."""
    if not len(graded.times_seconds):
        return f"{plan.path} holds no transaction whose label is known: there is nothing to grade"
    asked = f"--score-from ({in_words(plan.score_from)} after the first)"
    if not len(counted.times_seconds):
        span = timedelta(seconds=float(graded.times_seconds[-1] - graded.times_seconds[0]))
        return (
            f"{plan.path} ends {in_words(span)} after its first transaction, before {asked}: there "
            "is nothing to grade. Choose an earlier one."
        )
    return (
        f"there is no fraud among the {len(counted.scores):,} transactions from {asked} on, so "
        "that neither recall nor average precision is defined. Choose an earlier one, or a longer "
        "table."
    )
