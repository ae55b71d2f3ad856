"""The command `weir-produce`: puts source, labels, order, pace and bus together."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from types import FrameType
from typing import Any

from pydantic import ValidationError

from producers.columns import COLUMNS, Columns, TableError
from producers.labels import LateLabels
from producers.options import parser
from producers.order import Item, calls, merged, slices
from producers.pace import Pace
from producers.paysim import generate
from producers.progress import Reporter
from producers.publish import Counts, check_topics, send
from producers.replay import read_table
from producers.rows import Row
from producers.scenario import Scenario
from stream.io.bus import BusError, connect
from stream.io.security import SecurityError, kafka_security, refuse_password
from stream.settings import Settings

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class Stop:
    """Remembers a request to stop; what was handed over by then is flushed.

    The handlers go back to what they were at the first signal, so a second one ends the process.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before = {
            number: signal.signal(number, self._remember)
            for number in (signal.SIGINT, signal.SIGTERM)
        }

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        self.release()

    def release(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.signal is not None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = parser().parse_args(argv)
    try:
        refuse_password(arguments.bus, "--bus")
        given: dict[str, Any] = {"bus": arguments.bus} if arguments.bus else {}
        settings = Settings(**given)
        scenario = _scenario(arguments, settings) if arguments.source == "paysim" else None
    except ValidationError as problem:
        for error in problem.errors(include_input=False, include_url=False):
            name = "_".join(map(str, error["loc"])).upper()
            _complain(f"setting WEIR_{name}: {error['msg']}", USAGE)
        return USAGE
    except (SecurityError, ValueError) as problem:
        return _complain(str(problem), USAGE)
    stop = Stop()
    try:
        return _produce(arguments, settings, scenario, stop)
    except SecurityError as problem:
        return _complain(str(problem), USAGE)
    except (BusError, TableError, OSError) as problem:
        return _complain(str(problem), FAILED)
    finally:
        stop.release()


def _complain(problem: str, code: int) -> int:
    print(f"weir-produce: {problem}", file=sys.stderr)
    return code


def _scenario(arguments: argparse.Namespace, settings: Settings) -> Scenario:
    return Scenario(
        seed=arguments.seed,
        fraud_rate=arguments.fraud_rate,
        clients=arguments.clients,
        start=arguments.start or settings.step_origin,
        shifts=tuple(arguments.shift),
        new_patterns=tuple(arguments.new_pattern),
        patterns=arguments.patterns,
        uneven_days=arguments.uneven_days,
    )


def _rows(
    arguments: argparse.Namespace, settings: Settings, scenario: Scenario | None
) -> Iterator[list[Row]]:
    if scenario:
        return generate(scenario, days=arguments.days, transactions=arguments.transactions)
    columns = COLUMNS[arguments.columns] if arguments.columns else Columns({})
    if arguments.map:
        columns = columns.mapped(arguments.map)
    return read_table(
        arguments.file, columns, limit=arguments.transactions, step_origin=settings.step_origin
    )


def _produce(
    arguments: argparse.Namespace, settings: Settings, scenario: Scenario | None, stop: Stop
) -> int:
    chunks = _rows(arguments, settings, scenario)
    late = LateLabels(
        arguments.label_delay,
        arguments.label_fraction,
        arguments.seed,
        spread=arguments.label_delay_spread,
        corrected=arguments.correct_labels,
        key_field=settings.key_field,
    )
    broker = connect(settings.bus, kafka_security(settings))
    check_topics(broker, settings, create=arguments.create_topics)
    publisher = broker.publisher()
    counts = Counts()
    try:
        with Reporter(counts, arguments.transactions, quiet=arguments.quiet) as reporter:
            pace = _pace(arguments, scenario, stop, reporter)
            final_labels = not arguments.no_final_labels
            for call in _calls(chunks, late, pace, settings.align_seconds, final_labels):
                if stop.requested():
                    break
                send(publisher, call, settings, counts)
                reporter.update()
            publisher.flush()
        reporter.close(stopped=stop.requested())
    finally:
        publisher.close()
    if arguments.summary:
        arguments.summary.write_text(json.dumps(counts.summary(), indent=2) + "\n", "utf-8")
    return INTERRUPTED if stop.signal == signal.SIGINT else DONE


def _pace(
    arguments: argparse.Namespace, scenario: Scenario | None, stop: Stop, reporter: Reporter
) -> Pace | None:
    """The pace asked for; none is as fast as it goes."""
    speed, rate = arguments.speed, arguments.rate
    if speed is None and rate is None:
        return None
    if scenario and rate is not None:  # at the generator's mean speed the hours keep their swings
        speed, rate = rate / scenario.transactions_per_second, None
    return Pace(
        speed=speed,
        rate=rate,
        clock=time.monotonic,
        sleep=time.sleep,
        warn=reporter.say,
        stopped=stop.requested,
    )


def _calls(
    chunks: Iterable[list[Row]],
    late: LateLabels,
    pace: Pace | None,
    slice_seconds: int,
    final_labels: bool,
) -> Iterator[list[Item]]:
    """What goes out in each call of `publish`."""
    if pace is None:
        yield from calls(slices(chunks, late, slice_seconds, final_labels=final_labels))
        return
    yield from pace.calls(merged(chunks, late))
    yield from calls(slices([], late, slice_seconds, final_labels=final_labels))


if __name__ == "__main__":
    sys.exit(main())
