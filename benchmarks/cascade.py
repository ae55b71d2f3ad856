"""What the cascade costs in average precision, and what it saves.

    python -m benchmarks.cascade card_transactions_2018q2.csv.gz --page docs/performance.md

A costly member of the committee, the adaptive forest, votes only where the others come to more than
twice the average risk. The card stream, labels 7 days late, is played twice: as it is, and with the
forest asked about every row for as long as it has a say, in scores and in what is learned. The rest
is the same, the seed included. Figures are means over seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.ranking import sources, weir
from benchmarks.ranking.grades import grade
from benchmarks.ranking.streams import Floats, Stream, settings
from benchmarks.throughput import report
from stream.core import committee
from stream.core.committee import Votes
from stream.core.detector import Detector
from stream.core.features import Rows
from stream.core.model import Model
from stream.process import set_up_process

LIMITS = {"with the cascade": committee._DOUBTFUL, "without": 0.0}
"""From how many times the average risk on costly members are asked."""


class Counted(Model):
    """A model that counts the rows that costly members could vote on, and those they did."""

    could = did = 0

    def scored(self, names: tuple[str, ...], rows: Rows) -> tuple[Floats, Votes]:
        scores, votes = super().scored(names, rows)
        for name in self.committee._heard():
            if self.committee.members[name].costly:
                column = votes[:, self.committee.names.index(name)]
                self.could += len(rows)
                self.did += int(np.count_nonzero(~np.isnan(column)))
        return scores, votes


def played(stream: Stream, doubtful: float, seed: int) -> dict[str, float]:
    """Score and learn a stream; costly members vote from `doubtful` times the average risk on."""
    given = settings(seed=seed)
    model = Counted(given)
    detector = Detector(given, model)
    detector.open(0)
    usual, committee._DOUBTFUL = committee._DOUBTFUL, doubtful
    try:
        scores, microseconds = weir.played(detector, stream)
    finally:
        committee._DOUBTFUL = usual
    counts = stream.graded
    found = grade(scores[counts], stream.frauds[counts], microseconds)
    return {
        "average_precision": found.average_precision or 0.0,
        "log_loss": found.log_loss,
        "could": model.could / len(stream),
        "did": model.did / len(stream),
        "microseconds": found.microseconds_per_transaction,
    }


def main() -> None:
    """Print a line for each, and what the cascade costs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cascade",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="the card stream")
    parser.add_argument("--transactions", type=int, metavar="N", help="only so many")
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="of the learners, as mean"
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="put the table into this copy of the page"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    args = parser.parse_args()
    set_up_process()  # as `weir evaluate` does
    stream = sources.card(args.file, args.transactions, None)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in LIMITS}
    for seed in range(args.seeds):
        for name, doubtful in LIMITS.items():
            found[name].append(played(stream, doubtful, settings().seed + seed))
            print(f"{name}: {found[name][-1]}", file=sys.stderr, flush=True)
    print(table := as_table(found))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    if args.page:
        report.write(args.page, {"cascade": table})


def as_table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Return a line for each way, of means, and what the first loses against the second.

    >>> few = {"average_precision": 0.5, "log_loss": 0.1, "could": 0.2, "did": 0.1}
    >>> few |= {"microseconds": 40.0}
    >>> table = as_table({"with": [few], "without": [few | {"average_precision": 0.6}]})
    >>> print(table.splitlines()[-1])
    Average precision, without minus with: +0.1000 (by seed: +0.1000).
    """
    lines = [
        "| | average precision | log loss | forest could vote on | forest voted on "
        "| µs per transaction |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, runs in found.items():
        of = {key: fmean(run[key] for run in runs) for key in runs[0]}
        lines.append(
            f"| {name} | {of['average_precision']:.4f} | {of['log_loss']:.6f} | {of['could']:.1%} "
            f"| {of['did']:.1%} | {of['microseconds']:.1f} |"
        )
    one, other = ([run["average_precision"] for run in runs] for runs in found.values())
    costs = [without - with_ for with_, without in zip(one, other, strict=True)]
    by_seed = ", ".join(f"{cost:+.4f}" for cost in costs)
    said = f"Average precision, without minus with: {fmean(costs):+.4f} (by seed: {by_seed})."
    return "\n".join([*lines, "", said])


if __name__ == "__main__":
    main()
