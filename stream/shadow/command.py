"""`weir replay`: the challenger over what was decided, its progress, and the table at the end."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from threading import Event

from stream.core.comparison import Comparison
from stream.evaluation.progress import Progress
from stream.events import ChallengerReport, utc
from stream.io.background import Background
from stream.io.bus import connect
from stream.io.challengers import ChallengerWriter
from stream.io.security import kafka_security, redis_security
from stream.shadow import ReplayError
from stream.shadow.beginning import Beginning, Beginnings
from stream.shadow.challenger import Challenger, new_detector
from stream.shadow.course import Course, check_topics
from stream.shadow.past import Past
from stream.shadow.printing import print_comparison
from stream.shadow.request import Request

_REPORT_SECONDS = 2.0
_LOOK_SECONDS = 0.5
_CLOSING_SECONDS = 5.0
_NEW_FEATURES = (
    "note: the examples of the training log have the features in force. What the challenger learns "
    "from before {at} knows none of its own; a longer --warm gives it more examples that do.\n"
)


def run_replay(request: Request, stop: Event) -> ChallengerReport:
    """Replay, print and write what comes of it, and return the last report.

    Raises `RequestError`, `ReplayError`, and what bus and Redis raise.
    """
    settings = request.settings
    broker = connect(settings.bus, kafka_security(settings))
    partitions = check_topics(broker.topics(), settings)
    detector = new_detector(settings, partitions)
    with ExitStack() as stack:
        looks = stack.enter_context(closing(broker.reader()))
        begin = Beginnings(settings, looks, partitions).find(request.since, request.warm)
        _say(request, begin)
        comparison = Comparison(begin.graded_seconds, settings.max_pending)
        fitting = Background("weir-fit")
        stack.callback(fitting.shutdown, wait=False, cancel_futures=True)
        detector.model.fit_in(fitting)
        past = None
        if not request.unlearned and begin.from_seconds > -math.inf:
            log = stack.enter_context(closing(broker.reader()))
            past = Past(
                settings,
                log,
                detector,
                begin.from_seconds,
                stop=stop,
                progress=_LearningShown(),
            )
        reader = stack.enter_context(closing(broker.reader()))
        course = Course(settings, reader, begin, partitions, stop)
        writer = ChallengerWriter(
            settings.redis,
            settings.redis_prefix,
            request.name,
            expiry_seconds=settings.window_expiry_seconds,
            security=redis_security(settings),
        )
        stack.callback(writer.close, _CLOSING_SECONDS)
        challenger = Challenger(detector, comparison, past)

        def publish(*, done: bool = False) -> ChallengerReport:
            made = _report(request, comparison, done=done)
            writer.put_windows(challenger.windows())
            writer.put(made)
            return made

        with Progress(None if request.follow else begin.transactions, request.name) as progress:
            _run(challenger, course, progress, publish, stop=stop, follow=request.follow)
        report = publish(done=True)
    if not comparison.in_force.transactions:
        raise ReplayError(
            "no transaction that counts was decided once more"
            + (": it was stopped before" if stop.is_set() else "")
        )
    print_comparison(report)
    if request.json is not None:
        request.json.write_text(report.model_dump_json(indent=2) + "\n")
    return report


def _run(
    challenger: Challenger,
    course: Course,
    progress: Progress,
    publish: Callable[[], object],
    *,
    stop: Event,
    follow: bool,
) -> None:
    """Go through all that was decided, and on with what is decided meanwhile where that is asked.

    Progress counts the records of transactions, those that are left out included.
    """
    published = 0.0
    while True:
        for step in course.steps():
            challenger.step(step)
            newest = challenger.comparison.newest_seconds
            if newest is not None:
                progress.advance(step.records, newest)
            if time.monotonic() >= published + _REPORT_SECONDS:
                published = time.monotonic()
                publish()
        if not follow or stop.is_set():
            return
        publish()
        while not course.look_further():
            if stop.wait(_LOOK_SECONDS):
                return


def _report(request: Request, comparison: Comparison, *, done: bool) -> ChallengerReport:
    graded, newest = comparison.graded_seconds, comparison.newest_seconds
    cost = request.false_alarm_cost
    return ChallengerReport(
        name=request.name,
        settings=request.differing,
        reported_at=datetime.now(UTC),
        done=done,
        graded_from=None if graded == -math.inf else utc(graded),
        event_time=None if newest is None else utc(newest),
        in_force=comparison.in_force.measures(cost),
        challenger=comparison.challenger.measures(cost),
        apart=comparison.apart().asdict(),
    )


def _say(request: Request, begin: Beginning) -> None:
    """Tell on stderr what people should know before it runs."""
    if begin.shortened:
        sys.stderr.write(
            f"note: the topics reach back to {utc(begin.from_seconds):%Y-%m-%d %H:%M} (event "
            "time), which is less than --warm asks for: account history begins there.\n"
        )
    learns = not request.unlearned and begin.from_seconds > -math.inf
    if learns and "features" in request.differing:
        sys.stderr.write(_NEW_FEATURES.format(at=f"{utc(begin.from_seconds):%Y-%m-%d %H:%M}"))


class _LearningShown:
    """Says now and then how far the training log is learned, until decisions begin."""

    def __init__(self) -> None:
        self._next = time.monotonic() + 5.0
        self._first: int | None = None

    def __call__(self, done: int, of: int) -> None:
        self._first = self._first if self._first is not None else of
        if of == self._first and time.monotonic() >= self._next:
            self._next = time.monotonic() + 5.0
            sys.stderr.write(f"learning the training log: {done:,} of {of:,}\n")
