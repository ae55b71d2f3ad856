"""Messages a second on one core: a bare consumer, what people write today, and Weir.

    make kafka
    python -m benchmarks.throughput [--transactions N] [--json FILE]

Starts an Apache Kafka and a Redis of its own (or takes those given), publishes transactions of the
generator and their labels to topics of one partition, and has each loop read them from the first
to the last, pinned to one core, the servers on the others. A message is a record: a transaction or
a label. The naive loop learns each transaction from a label in the record, and reads no other.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from datetime import timedelta

from benchmarks.throughput import latency, loops, report
from benchmarks.throughput.groups import environment, with_topics
from benchmarks.throughput.pinned import Pinned
from benchmarks.throughput.servers import add_flags, started
from producers.labels import DueLabel, LateLabels
from producers.paysim import Scenario, generate
from producers.rows import Row
from stream.io.bus import Message, TopicSpec, connect

RUN = f"bench-{os.getpid()}"
"""Names of this run's own, on servers that may hold another's."""
TRANSACTIONS, LABELS = TOPICS = (f"{RUN}-transactions", f"{RUN}-labels")
NAIVE_ALERTS = f"{RUN}-naive-alerts"


def main() -> None:
    """Run the loops one after the other and print a line for each."""
    args = _parser().parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("at least two cores are needed: one for the loops, one for the servers")
    with ExitStack() as stack:
        os.sched_setaffinity(0, cores[1:])  # of the servers, and of what publishes
        kafka, redis = started(stack, args.kafka, args.redis)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        buses = {"Kafka": f"kafka://{kafka}", "embedded": f"sqlite:///{folder}/bus.db"}
        pinned = Pinned(cores[0])
        found: dict[str, loops.Pace] = {}
        if args.highest is None:
            for bus in buses.values():
                publish(_weir(bus, redis), args.transactions)
            found = _paces(args, pinned, kafka, redis, buses)
            pace = found[report.KAFKA]
            args.highest = pace.transactions / pace.seconds
        live = _latencies(args, cores[0], kafka, redis)
        staged = None
        if found:
            staged = pinned.run(
                loops.weir,
                _weir(buses["Kafka"], redis, group=f"{RUN}-staged"),
                args.first,
                by_stage=True,
            )
    tables = {"latency": report.latency_table(live)}
    if staged:
        tables |= {
            "loops": f"{report.loops_table(found)}\n\n{report.said(found)}",
            "stages": report.stages_table(staged),
        }
    print(*tables.values(), sep="\n\n")
    if args.json:
        result = {
            **(report.ratios(found) if found else {}),
            "rows": {name: asdict(pace) for name, pace in found.items()},
            "latency": {name: [asdict(each) for each in of] for name, of in live.items()},
            "stages": staged.stages if staged else {},
        }
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    if args.page:
        report.write(args.page, tables)


def _paces(
    args: argparse.Namespace, pinned: Pinned, kafka: str, redis: str, buses: Mapping[str, str]
) -> dict[str, loops.Pace]:
    """How fast each loop is, one after the other on one core."""
    count, first = args.transactions, args.first
    budget = _weir(buses["Kafka"], redis, group=f"{RUN}-budget")
    return {
        report.BARE: pinned.run(loops.bare, kafka, TOPICS, 2 * count),
        report.COMPILED: pinned.run(loops.bare, kafka, TOPICS, 2 * count, compiled=True),
        report.NAIVE: pinned.run(
            loops.naive, kafka, TRANSACTIONS, NAIVE_ALERTS, redis, min(count, args.naive)
        ),
        report.KAFKA: pinned.run(loops.weir, _weir(buses["Kafka"], redis), first),
        report.EMBEDDED: pinned.run(loops.weir, _weir(buses["embedded"], redis), first),
        report.FIRST: pinned.run(
            loops.weir, _weir(buses["Kafka"], redis, group=f"{RUN}-first"), 0, first
        ),
        report.BUDGET: pinned.run(loops.weir, budget | {"WEIR_LEARNING_BUDGET_US": "20"}, 0, first),
    }


def _latencies(
    args: argparse.Namespace, core: int, kafka: str, redis: str
) -> dict[str, list[latency.Latency]]:
    """From publication to alert, of the least that a loop can do and of both deliveries."""
    rates = [share * args.highest for share in report.SHARES]
    loops_of = {
        report.FORWARD: ("at-least-once", loops.forward, 0),
        "exactly-once": ("exactly-once", latency.live, args.first),
        "at-least-once": ("at-least-once", latency.live, args.first),
    }
    found = {}
    for name, (delivery, work, warm) in loops_of.items():
        group = f"{RUN}-{name.replace(' ', '-').replace(',', '')}"
        own = environment(f"kafka://{kafka}", redis, group) | {
            "WEIR_DELIVERY": delivery,
            "WEIR_THRESHOLD": "alert_budget:50/1s",
        }
        with_topics(own)
        found[name] = latency.measure(
            *(core, own, kafka, rates, work), warm=warm, seconds=args.seconds, clients=CLIENTS
        )
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def publish(to: dict[str, str], count: int) -> None:
    """Publish transactions and labels by event time; each transaction says `isFraud`, too."""
    settings = with_topics(to, TopicSpec(NAIVE_ALERTS, 1))
    publisher = connect(settings.bus).publisher()
    late = LateLabels(LABEL_DELAY, fraction=1.0, seed=settings.seed)
    for rows in generate(Scenario(clients=CLIENTS, fraud_rate=0.001), transactions=count):
        late.add(rows)
        timed = [(row.time_seconds, _transaction(row)) for row in rows]
        timed += [(due.time_seconds, _label(due)) for due in late.release(rows[-1].time_seconds)]
        publisher.publish([message for _, message in sorted(timed, key=lambda each: each[0])])
    publisher.publish([_label(due) for due in late.release()])
    publisher.close()
    os.sync()  # or it would be written to disk while the first loops run


CLIENTS = 2_000_000
"""About as many transactions a day: of a thinner stream a slice of event time holds less than a
batch, and whoever needs this speed has a denser one."""
LABEL_DELAY = timedelta(minutes=30)


def _transaction(row: Row) -> Message:
    transaction = row.transaction
    value = transaction.model_dump(mode="json", exclude_none=True) | {"isFraud": int(row.is_fraud)}
    return Message(TRANSACTIONS, transaction.nameDest.encode(), json.dumps(value).encode())


def _label(due: DueLabel) -> Message:
    return Message(LABELS, due.key.encode(), due.label.model_dump_json().encode())


def _weir(bus: str, redis: str, group: str = RUN) -> dict[str, str]:
    """The environment of a worker that reads the topics of this run."""
    return environment(bus, redis, group, inputs=RUN)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--transactions", type=int, default=500_000, metavar="N")
    parser.add_argument(
        "--first", type=int, default=200_000, metavar="N", help="that count as the beginning"
    )
    parser.add_argument(
        "--naive", type=int, default=30_000, metavar="N", help="that the naive loop reads at most"
    )
    parser.add_argument(
        "--seconds", type=float, default=40.0, metavar="S", help="of live traffic at each rate"
    )
    parser.add_argument(
        "--highest",
        type=float,
        metavar="RATE",
        help="of an earlier run, in transactions/s: only latency is measured",
    )
    add_flags(parser)
    return parser


if __name__ == "__main__":
    main()
