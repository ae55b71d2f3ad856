"""One model on many workers, on a real Apache Kafka and Redis.

    python -m benchmarks.scaling card_transactions_2018q2.csv.gz --columns card --label-delay 7d \\
        --score-from 20d --limit 400000 --set align_seconds=21600 --set learning_budget_us=20

has one, two and four workers handle the same table in four partitions, each into topics of its own.
Printed is, for each: processor time of all workers per transaction, also in yardsticks (a fixed
piece of work that each does once a second of its processor time: a machine that others use is
slower at one moment than at the next), and of that, learning; average precision of all decisions;
and how many different models the workers have at the end of the training log, by a digest of all
that a model holds (`benchmarks/scaling/digest.py`).

Then live traffic while one worker becomes three, each is restarted in turn, and three become two.
Printed is how many transactions were decided twice or never, and for each of these changes the
longest time that any partition went without a decision.

Without a table, it is `--transactions` of the generator, with `--clients` people about as many a
day. Apache Kafka and Redis are started for the run, or given. They have one core, and all workers
over the table the others. Several workers on one core find its caches filled by each other. So
where that is the only core there is, one worker that is compared with several shares it, too: with
a worker of another group, which handles the same table and does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from benchmarks.scaling.moving import Moved, moved
from benchmarks.scaling.workers import Shared, Table, handled
from benchmarks.throughput.groups import environment, with_topics
from benchmarks.throughput.report import write
from benchmarks.throughput.servers import add_flags, started
from producers.columns import COLUMNS
from producers.labels import LateLabels
from producers.options import duration
from producers.order import slices
from producers.paysim import Scenario, generate
from producers.publish import messages
from producers.replay import read_table
from producers.rows import Row
from stream.io.bus import connect
from stream.settings import Settings

RUN = f"scaling-{os.getpid()}"
PARTITIONS = 4


def main() -> None:
    """Run what was asked for, and print two tables."""
    parser = _parser()
    args = parser.parse_args()
    if max(args.workers, default=1) > PARTITIONS:
        parser.error(f"there are {PARTITIONS} partitions: no more workers than that")
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        os.sched_setaffinity(0, cores[-1:])  # of the servers, and of what publishes
        kafka, redis = started(stack, args.kafka, args.redis)
        if args.logs:
            args.logs.mkdir(parents=True, exist_ok=True)
        folder = args.logs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        table: Table | None = None
        shared = []
        of_workers = cores[:-1] or cores

        def of_group(name: str) -> Settings:
            group = environment(
                *(f"kafka://{kafka}", redis, f"{RUN}-{name}"),
                inputs=f"{RUN}-table",
                partitions=PARTITIONS,
            )
            return with_topics(group | dict(args.set))

        for workers in args.workers:
            settings = of_group(f"{workers}")
            table = table or publish(args, settings)
            alone = workers == len(of_workers) == 1 < max(args.workers)
            beside = of_group("beside") if alone else None
            shared.append(
                handled(settings, workers, table, of_workers, beside=beside, by_stage=args.stages)
            )
            print(shared_table(shared[-1:], shared[0]).splitlines()[-1], flush=True)
        moves = None
        if not args.no_moves:
            os.sched_setaffinity(0, cores)
            group = environment(f"kafka://{kafka}", redis, f"{RUN}-live", partitions=PARTITIONS)
            group["WEIR_LOG_FORMAT"] = "text"
            moves = moved(with_topics(group), group, args.rate, folder)
    tables = {"workers": shared_table(shared, shared[0])} if shared else {}
    if args.stages and shared:
        tables["worker stages"] = stages_table(shared)
    if moves:
        tables["moves"] = moves_table(moves)
    print(*tables.values(), sep="\n\n")
    if args.json:
        found = {"workers": [asdict(each) for each in shared], "moves": moves and asdict(moves)}
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    if args.page:
        write(args.page, tables)


def publish(args: argparse.Namespace, settings: Settings) -> Table:
    """Publish the table by event time, labels after their delay; return the truth."""
    publisher = connect(settings.bus).publisher()
    late = LateLabels(
        args.label_delay, fraction=1.0, seed=settings.seed, key_field=settings.key_field
    )
    frauds: dict[str, bool] = {}
    graded: set[str] = set()
    begin: float | None = None

    def chunks() -> Iterator[list[Row]]:
        if args.table is None:
            yield from generate(
                Scenario(clients=args.clients, fraud_rate=0.001), transactions=args.transactions
            )
            return
        columns = COLUMNS[args.columns]
        yield from read_table(
            args.table, columns, limit=args.limit, step_origin=settings.step_origin
        )

    for labels, rows in slices(chunks(), late, settings.align_seconds, final_labels=True):
        publisher.publish(messages([*labels, *rows], settings))
        for row in rows:
            id_, at = (
                row.transaction.transaction_id,
                row.transaction.time_seconds(settings.step_origin),
            )
            begin = at if begin is None else begin
            frauds[id_] = row.is_fraud is True
            if at >= begin + args.score_from.total_seconds():
                graded.add(id_)
    publisher.close()
    return Table(frauds, graded)


def setting(text: str) -> tuple[str, str]:
    """Return the variable of the environment for `name=value`.

    >>> setting("learning_budget_us=20")
    ('WEIR_LEARNING_BUDGET_US', '20')
    """
    name, equals, value = text.partition("=")
    if not equals or name not in Settings.model_fields:
        raise argparse.ArgumentTypeError(f"{text!r} is not the NAME=VALUE of a setting of Weir")
    return f"WEIR_{name.upper()}", value


def shared_table(shared: list[Shared], one: Shared) -> str:
    """Return a line for each number of workers; ratios are to the first."""
    lines = [
        "| workers | transactions | µs of CPU per transaction | of one worker | in yardsticks "
        "| of it learning | average precision | different models |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {each.workers} | {each.transactions:,} | {each.cpu_us:.1f} "
        f"| {each.cpu_us / one.cpu_us:.3f} "
        f"| {each.cpu_us / each.yardstick_us / (one.cpu_us / one.yardstick_us):.3f} "
        f"| {each.learning_us:.1f} "
        f"| {each.average_precision:.4f} | {each.models} |"
        for each in shared
    ]
    return "\n".join(lines)


def stages_table(shared: list[Shared]) -> str:
    """Return a line for each stage, with its µs per transaction for each number of workers."""
    names = dict.fromkeys(name for each in shared for name in each.stages_us)
    numbers = [f"{each.workers}" for each in shared]
    lines = [f"| µs per transaction, of workers | {' | '.join(numbers)} |"]
    lines += ["| --- |" + " ---: |" * len(shared)]
    for name in names:
        spent = " | ".join(f"{each.stages_us.get(name, 0.0):.1f}" for each in shared)
        lines.append(f"| {name} | {spent} |")
    return "\n".join(lines)


def moves_table(moves: Moved) -> str:
    """Return a line for each change, with the longest pause of any partition."""
    lines = ["| change | longest pause of a partition |", "| --- | ---: |"]
    lines += [f"| {each.what} | {each.longest_pause_seconds:.2f} s |" for each in moves.phases]
    lines += [
        "",
        f"{moves.transactions:,} transactions at {moves.rate:,.0f} a second: {moves.twice} decided "
        f"twice, {moves.never} never.",
    ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", nargs="?", type=Path, help="CSV file; default: the generator")
    parser.add_argument("--columns", choices=sorted(COLUMNS), default="card")
    parser.add_argument("--limit", type=int, metavar="N", help="rows of the table at most")
    parser.add_argument("--transactions", type=int, default=300_000, metavar="N")
    parser.add_argument(
        "--clients", type=int, default=100_000, metavar="N", help="people of the generator"
    )
    parser.add_argument("--label-delay", type=duration, default=timedelta(hours=3))
    parser.add_argument(
        "--score-from",
        type=duration,
        default=timedelta(0),
        help="transactions before so much of the table do not count in average precision",
    )
    parser.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the workers over the table, as learning_budget_us=20; may be repeated",
    )
    parser.add_argument(
        "--workers",
        type=lambda text: [int(each) for each in text.split(",") if each],
        default=[1, 2, 4],
        metavar="N,N",
    )
    parser.add_argument(
        "--rate", type=float, default=500.0, metavar="N", help="live transactions a second"
    )
    parser.add_argument(
        "--stages", action="store_true", help="say where the workers' time goes, too"
    )
    parser.add_argument("--no-moves", action="store_true", help="only the table")
    parser.add_argument(
        "--logs", type=Path, metavar="DIR", help="keep the logs of the workers here"
    )
    add_flags(parser)
    return parser


if __name__ == "__main__":
    main()
