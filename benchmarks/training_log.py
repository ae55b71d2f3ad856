"""What the training log should hold: trees refitted on logs drawn in several ways.

    python -m benchmarks.training_log --card FILE

Runs the detector over the card stream once, keeps features and scores, and draws logs from the
labelled transactions: all of them, some by chance, some by the score they were given. On each,
boosted trees are refitted every six days on what was labelled by then, and graded on day 60 and
later. Legitimate rows weigh one over the rate at which they were drawn, times what makes frauds the
share given. Nothing else differs between the lines.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.ranking import sources, weir
from benchmarks.ranking.described import Rows, opened
from benchmarks.ranking.streams import DAY, Floats, Stream, settings
from stream.core.boosted import Trees
from stream.core.windows import ranked_average_precision

EVERY_DAYS = 6.0


@dataclass(frozen=True, slots=True)
class Log:
    """How a log is drawn, and the share of frauds that its trees aim at; 0: none."""

    name: str
    by_chance: float
    by_score: float = 0.0
    target_share: float = 0.04

    def rates(self, scores: Floats, prior: float) -> Floats:
        """Return the rate at which a legitimate transaction of each score is drawn."""
        return np.minimum(self.by_chance + self.by_score * scores / prior, 1.0)


LOGS = (
    Log("all, as they are", 1.0, target_share=0.0),
    Log("all, weighted to 4 %", 1.0),
    Log("28 % by chance", 0.28),
    Log("8 % by chance", 0.08),
    Log("4 % by chance, 4 % by score", 0.04, 0.04),
    Log("the same, weighted to 1 %", 0.04, 0.04, target_share=0.01),
    Log("the same, weighted to 10 %", 0.04, 0.04, target_share=0.1),
    Log("2 % by chance, 6 % by score", 0.02, 0.06),
    Log("2 % by chance, 2 % by score", 0.02, 0.02),
)


@dataclass(frozen=True, slots=True)
class Found:
    """Of one log: what it held at the last fit, and what its trees reached."""

    examples: int
    average_precision: float | None
    cpu_seconds: float
    """Of all fits."""


def scored(stream: Stream) -> tuple[tuple[str, ...], Rows, Floats]:
    """Run the detector; return names and features, shape (n, k), and scores, shape (n,)."""
    detector, watched = opened(settings(), stream, keep=True)
    scores, _ = weir.played(detector, stream)
    return watched.names, np.concatenate(watched.kept), scores


def refitted(
    log: Log, stream: Stream, names: tuple[str, ...], features: Rows, given: Floats
) -> Found:
    """Refit on a log every six days from day 60, and grade what the trees say until the next."""
    days = (stream.times_seconds - stream.times_seconds[0]) / DAY
    prior = float(stream.frauds.mean())
    rates = np.where(stream.labels, 1.0, log.rates(given, prior))
    coin = np.random.default_rng(7).random(len(stream))
    drawn: NDArray[np.bool_] = coin < rates
    scores, examples, spent = np.zeros(len(stream)), 0, 0.0
    strategy, share = ("weights", log.target_share) if log.target_share else ("none", 0.5)
    for first in np.arange(60.0, days[-1], EVERY_DAYS):
        known = drawn & (days <= first - stream.delay.total_seconds() / DAY)
        begun = time.process_time()
        trees = Trees.fit(
            names, features[known], stream.labels[known], 1.0 / rates[known], strategy, share, 1
        )
        spent += time.process_time() - begun
        examples = int(known.sum())
        now = (days > first) & (days <= first + EVERY_DAYS)
        scores[now] = trees.probabilities(names, features[now])
    graded = days > 60.0
    reached = ranked_average_precision(scores[graded], stream.frauds[graded])
    return Found(examples, reached, spent)


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--card", type=Path, required=True, metavar="FILE", help="the card stream")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    args = made.parse_args()
    stream = sources.card(args.card, None, None)
    names, features, scores = scored(stream)
    print(f"{'log':<32}{'examples':>10}{'average precision':>20}{'CPU seconds':>14}", flush=True)
    figures = {}
    for log in LOGS:
        found = refitted(log, stream, names, features, scores)
        figures[log.name] = asdict(found)
        print(
            f"{log.name:<32}{found.examples:>10,}{found.average_precision or 0:>20.4f}"
            f"{found.cpu_seconds:>14.1f}",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
