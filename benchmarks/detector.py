"""What the detector costs, and what it finds, beside the same River models without Weir.

    python benchmarks/detector.py FILE --columns paysim --label-delay 1h --score-from 2h

Both see the same features, the same label delay and the same order. The baseline scales, scores and
learns every labelled transaction: `StandardScaler | LogisticRegression` and an adaptive random
forest of ten trees, log-odds averaged, no rebalancing. Without FILE the generator makes the stream.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from river import forest, linear_model, optim, preprocessing

from producers.options import duration
from producers.paysim import Scenario, generate
from producers.replay import COLUMNS, read_table
from stream.core.detector import Detector
from stream.core.evaluate import Row, Scorecard, evaluate
from stream.core.learners import LEARNERS, Committee, Learner
from stream.core.model import Model
from stream.settings import Settings


class Unweighted:
    """A learner that learns everything it is given, whatever it stands for."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def learn_one(self, x: dict[Any, Any], y: bool | str | int, *, w: float) -> None:  # noqa: ARG002
        self.model.learn_one(x, y)

    def predict_proba_one(self, x: dict[Any, Any]) -> dict[bool | str | int, float]:
        return self.model.predict_proba_one(x) or {True: 0.5}  # type: ignore[no-any-return]


def plain(_: float, __: float, seed: int) -> Learner:
    """The same models as the default learner, without rebalancing."""
    linear = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.SGD(0.01))
    trees = forest.ARFClassifier(n_models=10, max_features=0.6, seed=seed)
    return Committee([Unweighted(linear), Unweighted(trees)])  # type: ignore[list-item]


def measure(
    rows: list[Row], delay: timedelta, score_from: timedelta, **given: Any
) -> dict[str, Any]:
    """Run a detector over the rows and return quality and cost."""
    settings = Settings(**given)
    detector, scorecard = Detector.create(settings, Model(settings)), Scorecard(score_from)
    begun = time.process_time()
    evaluate(detector, rows, delay, scorecard)
    seconds = time.process_time() - begun
    return {
        **scorecard.quality().asdict(),
        "learned": detector.model.learned,
        "microseconds_per_transaction": 1e6 * seconds / len(rows),
    }


def _width(name: str) -> int:
    return max(len(name), 9) + 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--columns", choices=tuple(COLUMNS), default="paysim")
    parser.add_argument("--transactions", type=int, default=50_000)
    parser.add_argument("--label-delay", type=duration, default=timedelta(days=1))
    parser.add_argument("--score-from", type=duration, default=timedelta(days=3))
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if args.file:
        chunks = read_table(
            args.file,
            COLUMNS[args.columns],
            limit=args.transactions,
            step_origin=Settings().step_origin,
        )
    else:
        chunks = generate(Scenario(fraud_rate=0.01, clients=3_000), transactions=args.transactions)
    rows = [(r.transaction, bool(r.is_fraud)) for r in itertools.chain.from_iterable(chunks)]
    LEARNERS["plain"] = plain
    run: Callable[..., dict[str, Any]] = lambda **given: measure(  # noqa: E731
        rows, args.label_delay, args.score_from, **given
    )
    # A target share of next to nothing keeps every legitimate example in the log.
    found = {"plain River": run(learner="plain", target_share=1e-9), "Weir": run()}
    shown = (
        "average_precision",
        "log_loss",
        "calibration",
        "learned",
        "microseconds_per_transaction",
    )
    print(f"{'':<14}" + "".join(f"{name.replace('_', ' '):>{_width(name)}}" for name in shown))
    for name, figures in found.items():
        print(f"{name:<14}" + "".join(f"{figures[key]:>{_width(key)}.4g}" for key in shown))
    baseline, ours = (found[name]["microseconds_per_transaction"] for name in found)
    ratio = ours / baseline
    print(f"cost of Weir over plain River: {ratio:.2f}")
    if args.json:
        args.json.write_text(json.dumps(found | {"cost_ratio": ratio}, indent=2) + "\n")


if __name__ == "__main__":
    main()
