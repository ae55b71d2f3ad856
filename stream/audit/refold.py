"""The model learned anew from its log: does it come to what was in force, and what has drifted?"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from stream.audit.quality import Mark
from stream.core.decode import Reject, example
from stream.core.model import Model
from stream.evaluation.timeline import Moment, Timeline
from stream.io.bus import Record
from stream.io.training import MAX_EXAMPLE_BYTES
from stream.settings import Settings

_MOST_DRIFTS, _MOST_MOVES = 1_000, 1_000
_MOMENTS = 200
_TOLERANCE = 1e-9
_SHOWN = 20


class Refold:
    """Folds the training log into a model, and notes on the way what came of it.

    `marks` are what windows say the model in force was at a position; each is compared with what
    the fold comes to there. A threshold is compared where labels decided. Of drifts the first 1,000
    are kept, and the rest counted.
    """

    def __init__(self, settings: Settings, marks: Sequence[Mark]) -> None:
        self.model = Model(settings)
        self.learned = 0
        self.compared = 0
        self.differing: list[dict[str, float]] = []
        """Where the fold came to something else: the first 20."""
        self.differ = 0
        self.drifts: list[dict[str, Any]] = []
        self.moves: deque[dict[str, Any]] = deque(maxlen=_MOST_MOVES)
        """Of the threshold, each with the reason: the newest 1,000."""
        self._marks = sorted(marks, reverse=True)
        self._threshold: float | None = None
        self._found = dict(self.model.committee.drift.found)
        self._timeline = Timeline(_MOMENTS)

    def learn(self, record: Record) -> None:
        """Learn the next record of the log."""
        self.compare(record.offset)
        found = example(record.value, MAX_EXAMPLE_BYTES)
        if isinstance(found, Reject):
            return
        self.model.learn(found)
        self.model.position = record.offset + 1
        self.learned += 1
        if self._timeline.wants(record.offset):
            self._timeline.add(self._moment(record.offset))
        threshold = self.model.threshold
        if threshold.value != self._threshold:
            self._threshold = threshold.value
            self.moves.append(
                {
                    "position": record.offset,
                    "labelled_at": found.labelled_at.isoformat(),
                    "threshold": threshold.value,
                    "reason": threshold.reason,
                }
            )
        drift = self.model.committee.drift.found
        if drift != self._found:
            for name, count in drift.items():
                if count > self._found[name] and len(self.drifts) < _MOST_DRIFTS:
                    self.drifts.append(
                        {
                            "figure": name,
                            "position": record.offset,
                            "labelled_at": found.labelled_at.isoformat(),
                        }
                    )
            self._found = dict(drift)

    def compare(self, position: int) -> None:
        """Compare with what windows tell of the model up to a position."""
        while self._marks and self._marks[-1].position <= position:
            mark = self._marks.pop()
            mine = {
                "fraud_prior": self.model.prior.value,
                "learned_share": self.model.learned_prior.value,
            }
            if self.model.threshold.value is not None:
                mine["threshold"] = self.model.threshold.value
            self.compared += 1
            wrong = {
                name: value
                for name, value in mine.items()
                if not math.isclose(value, getattr(mark, name), rel_tol=_TOLERANCE)
            }
            if wrong:
                self.differ += 1
                if len(self.differing) < _SHOWN:
                    told = {f"{name}_in_force": getattr(mark, name) for name in wrong}
                    self.differing.append({"position": mark.position, **wrong, **told})

    def asdict(self) -> dict[str, Any]:
        """Return what was found, as plain data."""
        committee, threshold = self.model.committee, self.model.threshold
        return {
            "learned": self.learned,
            "position": self.model.position,
            "windows_compared": self.compared,
            "windows_that_differ": self.differ,
            "differing": self.differing,
            "drifts": self.drifts,
            "drifts_by_figure": dict(committee.drift.found),
            "weights": committee.weights(),
            "threshold": threshold.value,
            "threshold_reason": threshold.reason,
            "threshold_moves": list(self.moves),
            "moments": [
                {
                    "position": int(at),
                    "threshold": None if math.isnan(value) else value,
                    "weights": dict(weights),
                    **state,
                }
                for at, value, state, weights in self._timeline.moments
            ],
        }

    def _moment(self, position: int) -> Moment:
        model = self.model
        threshold = math.nan if model.threshold.value is None else model.threshold.value
        return Moment(position, threshold, {"fraud_prior": model.prior.value}, model.weights())
