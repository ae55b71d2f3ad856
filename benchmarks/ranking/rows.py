"""The rows of the table by name, and how each is run over a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from benchmarks.ranking import anchors, rivers, weir
from benchmarks.ranking.described import Described, describe, feature_names
from benchmarks.ranking.streams import Floats, Stream, settings

Progress = Callable[[int], None]


@dataclass(slots=True)
class Held:
    """A stream, and its features once a row has asked for them."""

    stream: Stream
    _described: Described | None = field(default=None)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return feature_names(self.stream)

    @property
    def described(self) -> Described:
        if self._described is None:
            print(f"  features of {len(self.stream):,} transactions ...", flush=True)
            self._described = describe(self.stream)
        return self._described


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of a row, shape (n,), what they cost, and a note on how it was set."""

    scores: Floats
    microseconds: float
    note: str = ""


def names() -> tuple[str, ...]:
    """All rows, in the order of the table."""
    return (
        *(f"Weir {strategy}" for strategy in weir.strategies()),
        *anchors.ANCHORS,
        *rivers.RIVERS,
    )


def chosen(patterns: str) -> tuple[str, ...]:
    """Return the rows that a list such as `Weir auto,XGBoost*` names, in the table's order.

    Raises `ValueError` for a pattern that names none.

    >>> chosen("xgb*")
    ('XGBoost', 'XGBoost + SMOTE')
    """
    wanted = [part.strip().lower() for part in patterns.split(",")]
    known = names()
    for pattern in wanted:
        if not any(fnmatchcase(name.lower(), pattern) for name in known):
            raise ValueError(f"no row is called {pattern!r}; there are {', '.join(known)}")
    return tuple(n for n in known if any(fnmatchcase(n.lower(), pattern) for pattern in wanted))


def run(name: str, held: Held, learner: str, progress: Progress, more_seed: int = 0) -> Scored:
    """Run one row over a stream: `learner` is that of Weir rows, `more_seed` is added to seeds."""
    seed = settings().seed + more_seed
    if name in anchors.ANCHORS:
        anchor = anchors.ANCHORS[name]
        scores, microseconds = anchors.run(held.described, anchor, progress, seed)
        return Scored(scores, microseconds, anchors.said(anchor))
    if name in rivers.RIVERS:
        return Scored(*rivers.run(held.described, rivers.RIVERS[name](seed), progress))
    strategy = name.removeprefix("Weir ")
    given = settings(learner=learner, rebalance=strategy, seed=seed)
    scores, microseconds = weir.run(held.stream, given, progress)
    note = f"learner {learner}"
    if strategy != "auto":
        note += f", target_share {given.target_share:g}"
    return Scored(scores, microseconds, note)
