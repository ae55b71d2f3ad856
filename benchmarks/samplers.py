"""Every sampler around the same logistic regression: what it finds, and what it costs.

    python benchmarks/samplers.py [FILE] [--columns paysim] [--transactions 50000]

Without FILE the generator makes the stream. Every row is described by the account's past, scored,
and learned at once, with no label delay, so that nothing but the sampler differs. The first fifth
is learned and not graded. Cost is that of scoring and learning, scaler included, without features.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from river import linear_model, optim, preprocessing

from producers.paysim import Scenario, generate
from producers.replay import COLUMNS, read_table
from stream.core.features import Features
from stream.core.samplers import SAMPLERS
from stream.core.windows import log_loss, ranked_average_precision
from stream.events import Transaction
from stream.settings import Settings

FEATURES_AT_ONCE = 1_000
SHOWN = ("average_precision", "log_loss", "calibration", "learned", "microseconds")


class Counted(linear_model.LogisticRegression):
    """Logistic regression that counts its updates."""

    updates = 0

    def learn_one(self, x: dict[Any, Any], y: Any, w: float = 1.0) -> None:
        Counted.updates += 1
        super().learn_one(x, y, w)


def read(args: argparse.Namespace) -> tuple[list[Transaction], list[bool]]:
    """Return the transactions and their labels."""
    if args.file:
        chunks = read_table(
            args.file,
            COLUMNS[args.columns],
            limit=args.transactions,
            step_origin=Settings().step_origin,
        )
    else:
        chunks = generate(
            Scenario(fraud_rate=args.fraud_rate, clients=3_000), transactions=args.transactions
        )
    rows = list(itertools.chain.from_iterable(chunks))
    return [row.transaction for row in rows], [bool(row.is_fraud) for row in rows]


def described(transactions: list[Transaction]) -> list[dict[str, float]]:
    """Return the features of each transaction, as the detector has them."""
    s = Settings()
    features = Features(
        s.transaction_types, s.half_lives_hours, s.max_accounts, s.step_origin, s.features
    )
    rows: list[dict[str, float]] = []
    for first in range(0, len(transactions), FEATURES_AT_ONCE):
        batch = transactions[first : first + FEATURES_AT_ONCE]
        values = features.transform(batch, features.times_seconds(batch)).tolist()
        rows += [dict(zip(features.names, row, strict=True)) for row in values]
    return rows


def measure(
    name: str, rows: list[dict[str, float]], labels: list[bool], share: float
) -> dict[str, float]:
    """Score and learn all rows with one sampler, and return quality and cost."""
    Counted.updates = 0
    regression = Counted(optim.SGD(0.01), l2=1e-5)
    model = preprocessing.StandardScaler() | SAMPLERS[name](regression, share, 50_000, 1)
    scores = np.empty(len(rows))
    begun = time.process_time()
    for i, (x, y) in enumerate(zip(rows, labels, strict=True)):
        scores[i] = model.predict_proba_one(x)[True]
        model.learn_one(x, y)
    seconds = time.process_time() - begun
    graded = slice(len(rows) // 5, None)
    frauds = np.array(labels)[graded]
    return {
        "average_precision": ranked_average_precision(scores[graded], frauds) or 0.0,
        "log_loss": float(log_loss(scores[graded], frauds).mean()),
        "calibration": float(scores[graded].sum() / frauds.sum()),
        "learned": Counted.updates / len(rows),
        "microseconds": 1e6 * seconds / len(rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--columns", choices=tuple(COLUMNS), default="paysim")
    parser.add_argument("--transactions", type=int, default=50_000)
    parser.add_argument("--fraud-rate", type=float, default=0.005, help="of the generator")
    parser.add_argument("--share", type=float, default=0.03, help="of frauds aimed at")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    transactions, labels = read(args)
    rows = described(transactions)
    print(f"{len(rows)} transactions, {sum(labels)} frauds, target share {args.share:g}\n")
    print("| sampler | " + " | ".join(name.replace("_", " ") for name in SHOWN) + " |")
    print("|---|" + "---:|" * len(SHOWN))
    found = {}
    for name in SAMPLERS:
        found[name] = measure(name, rows, labels, args.share)
        print(f"| {name} | " + " | ".join(f"{found[name][key]:.3g}" for key in SHOWN) + " |")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
