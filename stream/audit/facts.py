"""All that an audit says, as plain data: what `audit.json` holds."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import xgboost

from stream.audit.quality import Quality
from stream.audit.refold import Refold
from stream.audit.trail import Trail
from stream.events import LiveReport, utc
from stream.settings import CREDENTIALS, SECRETS, Settings

LAYOUT = 1
"""Raised whenever what the file holds changes in a way that its readers would notice."""
_PACKAGES = ("weir", "river", "numpy", "scipy")

STRATEGIES = {
    "auto": "legitimate examples are thinned on their way to the log to what the mildest member "
    "can use, half by chance and half by the score, and less at first; members weigh the classes "
    "or thin further, each to a share of its own",
    "none": "nothing is thinned, weighted or made up",
    "under": "legitimate examples are thinned to the target share",
    "over": "nothing is thinned; frauds are learned several times, up to the target share",
    "hybrid": "half the way each: legitimate examples are thinned, and frauds learned several "
    "times",
    "weights": "nothing is thinned; the classes are weighted to the target share",
    "smote": "half the way each: legitimate examples are thinned, and frauds made up between "
    "neighbours (SMOTE)",
    "borderline": "half the way each: legitimate examples are thinned, and frauds made up where "
    "the classes meet (borderline-SMOTE)",
    "hard": "legitimate examples are thinned to the target share, and those that are hard to tell "
    "from frauds are kept more often",
}
OWN = "everything goes to the log and to the user's own learner, as it is"
ORDER = (
    "Labels are learned in the order in which they arrived and were committed: the positions of "
    "the training log. Each example has the features, the score and the decision of the moment its "
    "transaction was decided, and as weight one over the probability with which it was kept."
)
CORRECTION = (
    "After all sampling the odds are corrected by the rates at which each class was indeed kept, "
    "so that a score is a probability in the traffic and not in the sample."
)


def facts(
    settings: Settings,
    bus: str,
    *,
    positions: tuple[int, int],
    trail: Trail,
    quality: Quality | None,
    live: Sequence[LiveReport],
    refold: Refold | None,
) -> dict[str, Any]:
    """Return what an audit says. `positions` are those of the log that were read: from, to."""
    own, auto = ":" in settings.learner, settings.rebalance == "auto"
    shareless = own or settings.rebalance == "none" or (auto and settings.learner == "auto")
    newest = max(live, key=lambda report: report.model_position, default=None)
    return {
        "layout": LAYOUT,
        "stream": {
            "bus": bus,
            "training_topic": settings.training_topic,
            "redis_prefix": settings.redis_prefix,
            "from": _moment(trail.from_seconds),
            "to": _moment(trail.to_seconds),
            "first_transaction": _moment(trail.span_seconds[0]),
            "last_transaction": _moment(trail.span_seconds[1]),
        },
        "settings": settings.model_dump(
            mode="json", exclude={*SECRETS, *CREDENTIALS, "dashboard_token_file"}
        ),
        "versions": versions(),
        "log": {"read_from": positions[0], "read_to": positions[1], **trail.asdict()},
        "balance": {
            "strategy": settings.rebalance,
            "what_it_does": OWN if own and auto else STRATEGIES[settings.rebalance],
            "learner": settings.learner,
            "target_share": None if shareless else settings.target_share,
            "prior_correction": CORRECTION,
            "order": ORDER,
        },
        "threshold": {
            "policy": settings.threshold,
            "in_force": None if newest is None else newest.threshold,
            "reason": None if newest is None else newest.threshold_reason,
        },
        "quality": None if quality is None else quality.asdict(),
        "alarms": [
            {"worker": report.worker, **alarm.model_dump(mode="json")}
            for report in live
            for alarm in report.alarms
        ],
        "workers": [report.worker for report in live],
        "refold": None if refold is None else refold.asdict(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what an audit, and a model that is refolded, are made with."""
    found = {"python": platform.python_version(), "xgboost": xgboost.__version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from its sources
            continue
    return found


def _moment(seconds: float) -> str | None:
    return None if math.isinf(seconds) else utc(seconds).isoformat()
