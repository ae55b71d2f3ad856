"""A committee of learners whose say follows how well each has ranked lately."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from river import base

from stream.core.boosted import BoostedTrees, Fitter, number
from stream.core.drift import Drift
from stream.core.rebalance import FeatureDict, Label
from stream.core.stacking import Bools, filled, level, stack
from stream.core.steps import Steps, finished
from stream.core.windows import ranked_average_precision
from stream.events import logit

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
Votes = NDArray[np.float32]
Told = tuple[FeatureDict, bool, float, bool]
"""An example: features, label, what it stands for, and whether it takes the place of one that was
learned with the other label."""

_SURE = 9.0
"""A vote: no surer than about 1 in 10,000, so that one empty tree cannot veto."""


class Learner(Protocol):
    """What Weir asks of a River model or pipeline: a binary classifier that takes weights."""

    def learn_one(self, x: FeatureDict, y: Label, *, w: float) -> None: ...

    def predict_proba_one(self, x: FeatureDict) -> dict[Label, float]: ...


@dataclass(slots=True)
class Member:
    """A learner with a vote.

    Parameters
    ----------
    build
        Returns the learner, unlearned.
    say
        Share of the vote that is expected of it, before anything is known; in any unit.
    min_frauds
        Frauds it must have learned before it votes.
    retires
        It goes where it does not earn what it costs, and comes back, unlearned, after a drift.
    costly
        It is asked only about what the others cannot rule out.
    """

    build: Callable[[], Learner]
    say: float = 1.0
    min_frauds: int = 10
    retires: bool = False
    costly: bool = False


class Committee(base.Classifier):
    """Combines the log-odds of its members by stacking on how they ranked what they then learned.

    The probability is that of ``bias + sum of coefficient x log-odds``, the coefficients at least 0
    and fitted (`core.stacking`) to matured examples: the last `max_frauds` frauds and the
    legitimate ones of the same span, each by the number of transactions it stands for. The bias
    is fitted once more, to the newest 200 frauds and theirs: it follows a prior shift; the slope
    undoes what is over-sure. Examples are learned in blocks of `block`, counted, so that any number
    of workers comes to the same. Before they learn a block, the members vote on it: judged is the
    learner as it is now, on examples that it has not seen. (The votes of scoring time are those of
    a learner a label delay younger: a correction fitted to them is stale, and counts twice what the
    learner has corrected since.) Members that have not voted together yet have the say that was
    expected.

    A costly member votes only where the others come to more than twice the average risk. A member
    that `retires` is let go when it has added less than `earns` to the average precision of the
    recent examples five looks in a row, one member at a time, costly ones first. A drift of the
    error brings it back, unlearned, to learn in the background until it has a vote; one that came
    back in vain, only every second drift does, then every fourth, in the end every eighth.

    Parameters
    ----------
    members
        By name.
    max_frauds, max_examples
        Bound of the examples that the votes are judged by.
    block
        Examples voted on and learned together; then the votes are looked at.
    strength
        How firmly the coefficients are held to what was expected (`core.stacking`).
    earns
        Average precision that a member has to add.

    Examples
    --------
    >>> model = Committee({"trees": Member(BoostedTrees)})
    >>> for i in range(2_000):
    ...     model.learn_one({"round amount": i % 10 == 9}, i % 20 == 19)
    >>> risk = [model.predict_proba_one({"round amount": x})[True] for x in (False, True)]
    >>> [round(p, 1) for p in risk]
    [0.0, 0.5]
    """

    def __init__(
        self,
        members: Mapping[str, Member],
        *,
        max_frauds: int = 1_000,
        max_examples: int = 20_000,
        block: int = 50,
        strength: float = 5.0,
        earns: float = 0.005,
    ) -> None:
        self.members = members
        self.max_frauds = max_frauds
        self.max_examples = max_examples
        self.block = block
        self.strength = strength
        self.earns = earns
        self.names = tuple(members)
        self.learners: dict[str, Learner] = {name: m.build() for name, m in members.items()}
        """Those that are not retired."""
        self.executor: Fitter | None = None
        """Where members fit that are refitted; none: at once. Is not kept."""
        self.drift = Drift()
        self.bias = 0.0
        say = np.array([member.say for member in members.values()])
        self.coefficients = self._expected = self._first = say / say.sum()
        self._frauds_learned = dict.fromkeys(self.names, 0)
        self._idle = dict.fromkeys(self.names, 0)
        self._absent = dict.fromkeys(self.names, 1)
        """Drifts that a member sits out, once it is let go."""
        self._sat_out = dict.fromkeys(self.names, 0)
        self._legitimate = self._frauds = 0.5
        self._waiting: list[Told] = []
        self._since_look = 0
        self._voting = [name for name in self.names if self._ready(name)]
        self._seen = _Recent(len(self.names), max_examples)

    @property
    def _multiclass(self) -> bool:
        return False

    @classmethod
    def _unit_test_params(cls) -> Any:
        from functools import partial  # noqa: PLC0415 - for River's own checks only

        from river import linear_model  # noqa: PLC0415

        members = {
            "linear": Member(linear_model.LogisticRegression),
            "boosted": Member(partial(BoostedTrees, min_frauds=5, min_examples=50), costly=True),
        }
        yield {"members": members}

    @property
    def prior(self) -> float:
        """Share of frauds among the transactions that the recent examples stand for."""
        return self._frauds / (self._frauds + self._legitimate)

    def weights(self) -> dict[str, float]:
        """Return each member's share of the vote; they add up to 1."""
        say = np.where([name in self._voting for name in self.names], self.coefficients, 0.0)
        total = say.sum()
        if total <= 0.0:
            return dict.fromkeys(self.names, 1.0 / len(self.names))
        return dict(zip(self.names, (say / total).tolist(), strict=True))

    def votes(self, names: tuple[Hashable, ...], rows: Rows) -> Votes:
        """Return the log-odds that each member gives each row, shape (n, m); NaN: no vote."""
        return self._votes(names, rows, self._voting)

    def heard_votes(self, names: tuple[Hashable, ...], rows: Rows) -> Votes:
        """Return the votes that count: those of members with a say. They come to the same."""
        return self._votes(names, rows, self._heard())

    def cheap_votes(self, names: tuple[Hashable, ...], rows: Rows) -> Votes:
        """Return the votes of the members that have a say and are not costly, shape (n, m)."""
        cheap = [name for name in self._heard() if not self.members[name].costly]
        return self._votes(names, rows, cheap)

    def _heard(self) -> list[str]:
        """Return the members that vote with a coefficient above 0.

        All, where those are only costly ones: without a say, others still rule out.
        """
        says = dict(zip(self.names, self.coefficients.tolist(), strict=True))
        heard = [name for name in self._voting if says[name] > 0.0]
        return self._voting if all(self.members[name].costly for name in heard) else heard

    def _votes(self, names: tuple[Hashable, ...], rows: Rows, voting: Sequence[str]) -> Votes:
        votes = np.full((len(rows), len(self.names)), np.nan, dtype=np.float32)
        for name in voting:
            if not self.members[name].costly:
                votes[:, self.names.index(name)] = _log_odds(self.learners[name], names, rows)
        costly = [name for name in voting if self.members[name].costly]
        if costly:
            doubtful = np.flatnonzero(self.probabilities(votes) > _DOUBTFUL * self.prior)
        for name in costly:
            found = _log_odds(self.learners[name], names, rows[doubtful])
            votes[doubtful, self.names.index(name)] = found
        return votes

    def probabilities(self, votes: Votes) -> Floats:
        """Return the probability of fraud that votes come to, shape (n,)."""
        found: Floats = 1.0 / (1.0 + np.exp(-self.log_odds(votes)))
        return found

    def log_odds(self, votes: Votes) -> Floats:
        """Return the log-odds of fraud that votes come to, shape (n,), no further out than 25."""
        given = votes.astype(np.float64)
        heard = ~np.isnan(given).all(axis=1)
        log_odds = np.full(len(given), logit(self.prior))
        log_odds[heard] = self.bias + filled(given[heard], self.coefficients) @ self.coefficients
        bounded: Floats = np.clip(log_odds, -25.0, 25.0)
        return bounded

    def learn_one(self, x: FeatureDict, y: Label, w: float = 1.0) -> None:
        """Learn an example that stands for `w` transactions, as soon as its block is full."""
        self._take((dict(x), bool(y), w, False))

    def correct(self, x: FeatureDict, y: Label, w: float = 1.0) -> None:
        """Learn that an example learned before has the other label, and now stands for `w`.

        It is judged by the votes of then, as the members have learned from it since. Members that
        have a `correct` of their own are told there; others learn it as one more example.
        """
        self._take((dict(x), bool(y), w, True))

    def _take(self, example: Told) -> None:
        self._waiting.append(example)
        if len(self._waiting) == self.block:
            finished(self.learn_block(self._waiting, *as_rows([x for x, _, _, _ in self._waiting])))
            self._waiting.clear()

    def learn_block(
        self, block: Sequence[Told], names: tuple[Hashable, ...], rows: Rows
    ) -> Steps[list[float]]:
        """Learn `block` examples, step by step; it comes to the probabilities from just before.

        For whoever holds the examples of a block anyway, and as rows (`as_rows`); `learn_one`
        collects them itself. Between two steps it may be asked for votes, not to learn.
        """
        votes = self.votes(names, rows)
        scores: list[float] = self.probabilities(votes).tolist()
        yield None
        frauds = np.array([is_fraud for _, is_fraud, _, _ in block])
        weights = np.array([w for _, _, w, _ in block])
        runs = _runs([corrects for _, _, _, corrects in block])
        for at, corrects in runs:
            keys = [zlib.crc32(row.tobytes()) for row in rows[at]]
            if corrects and self._seen.correct(keys[0], *block[at.start][1:3]):
                continue
            self._seen.add(votes[at], frauds[at], weights[at], keys)
        changed: set[str] = set()
        for score, (_, is_fraud, w, _) in zip(scores, block, strict=True):
            changed.update(self.drift.learn(score, is_fraud, w))
        caught = int(frauds.sum())
        for name, learner in self.learners.items():
            if isinstance(learner, BoostedTrees):
                learner.executor = self.executor
            if hasattr(learner, "learn_rows"):
                yield from _learned_as_rows(learner, block, names, (rows, frauds, weights), runs)
            else:
                yield from _learned(learner, block)
            self._frauds_learned[name] += caught
        if changed:
            self._changed(changed)
        self._since_look += len(block)
        ready = [name for name in self.names if self._ready(name)]
        if changed or ready != self._voting or self._since_look >= len(self._seen) // 40:
            self._since_look = 0
            yield None
            yield from self._look(ready)
        return scores

    def predict_proba_one(self, x: FeatureDict, **kwargs: Any) -> dict[Label, float]:  # noqa: ARG002
        fraud = float(self.probabilities(self.votes(*as_rows([x])))[0])
        return {False: 1.0 - fraud, True: fraud}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"executor": None}

    def _ready(self, name: str) -> bool:
        """Whether a member has learned enough for a vote."""
        learner = self.learners.get(name)
        if learner is None or self._frauds_learned[name] < self.members[name].min_frauds:
            return False
        return not isinstance(learner, BoostedTrees) or learner.fitted

    def _look(self, ready: list[str]) -> Steps[None]:
        """Let the members that are ready vote, with the say that would have served best lately."""
        self._seen.trim(self.max_frauds)
        votes, frauds, weights = self._seen.columns()
        caught = float(weights[frauds].sum())
        self._frauds, self._legitimate = caught + 0.5, float(weights.sum()) - caught + 0.5
        before, self._voting = self._voting, ready
        cheap = [name for name in self._voting if not self.members[name].costly]
        if not set(cheap) <= set(before):  # these have not voted together yet
            self.bias, self.coefficients = 0.0, self._first
            self._expected = self._first
        votes[:, [name not in self._voting for name in self.names]] = np.nan
        together = ~np.isnan(votes[:, [name in cheap for name in self.names]]).any(axis=1)
        votes, frauds, weights = votes[together], frauds[together], weights[together]
        if frauds.sum() < _FEW or frauds.all():
            return
        full = filled(votes, self.coefficients)
        start = np.array([self.bias, *self.coefficients])
        found = stack(full, frauds, weights, start, self._expected, self.strength)
        self.coefficients = found[1:]
        # Members follow a prior shift, each at its pace: what they lack by now, the newest tell.
        newest = slice(np.flatnonzero(frauds)[-_NEWEST:][0], None)
        log_odds = full[newest] @ self.coefficients
        self.bias = level(log_odds, frauds[newest], weights[newest], float(found[0]), self.strength)
        yield None
        self._retire(votes, frauds, weights)

    def _retire(self, votes: Floats, frauds: Bools, weights: Floats) -> None:
        """Let a member go that has not earned its keep."""
        in_doubt = [n for n in reversed(self._voting) if self.members[n].retires]
        if not in_doubt:
            return
        whole = self._ranked(votes, frauds, weights)
        for name in sorted(in_doubt, key=lambda n: not self.members[n].costly):
            at = self.names.index(name)
            if (frauds & ~np.isnan(votes[:, at])).sum() < _ENOUGH:
                continue
            without = votes.copy()
            without[:, at] = np.nan
            if whole - self._ranked(without, frauds, weights) >= self.earns:
                self._idle[name], self._absent[name] = 0, 1
                continue
            self._idle[name] += 1
            if self._idle[name] >= _PATIENCE:
                del self.learners[name]
                self._voting.remove(name)
                self._sat_out[name] = 0
                self._idle = dict.fromkeys(self.names, 0)  # without it, others may earn more
                return

    def _ranked(self, votes: Floats, frauds: Bools, weights: Floats) -> float:
        """Average precision of votes as they are weighed now."""
        log_odds = filled(votes, self.coefficients) @ self.coefficients
        return ranked_average_precision(log_odds, frauds, weights) or 0.0

    def _changed(self, figures: Collection[str]) -> None:
        """Forget what no longer holds, and have learners ready for what has come."""
        if "prior" in figures or "calibration" in figures:
            self._seen.keep(max(self.drift.width("calibration"), self.block))
            self._expected = self.coefficients
        if "error" in figures:
            for learner in self.learners.values():
                if isinstance(learner, BoostedTrees):
                    learner.refresh()
            for name in self.names:
                if name in self.learners:
                    continue
                self._sat_out[name] += 1
                if self._sat_out[name] >= self._absent[name]:
                    self.learners[name] = self.members[name].build()
                    self._frauds_learned[name] = self._idle[name] = 0
                    self._absent[name] = min(2 * self._absent[name], _LONGEST)


_STEP = 10
"""Examples that a member learns in a step."""
_DOUBTFUL = 2.0
"""Times the average risk from which on a costly member is asked."""
_FEW = 10
"""Frauds below which the votes are not judged."""
_ENOUGH = 50
"""Frauds that a member has voted on before it may be let go."""
_PATIENCE = 5
_LONGEST = 8
"""Drifts that a member sits out at most, however often it came back in vain."""
_NEWEST = 200
"""Frauds in the span that the bias is fitted to."""


class _Recent:
    """The newest examples: votes, labels, weights and keys of their features, in arrays."""

    def __init__(self, members: int, max_examples: int) -> None:
        self.max_examples = max_examples
        self._votes = np.zeros((2 * max_examples, members), dtype=np.float32)
        self._frauds = np.zeros(2 * max_examples, dtype=np.bool_)
        self._weights = np.zeros(2 * max_examples)
        self._keys = np.zeros(2 * max_examples, dtype=np.uint32)
        self._begin = self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    def add(self, votes: Votes, frauds: Bools, weights: Floats, keys: Sequence[int]) -> None:
        while len(votes):
            if self._end == len(self._frauds):
                self.keep(self.max_examples)
                n = self._end - self._begin
                for array in (self._votes, self._frauds, self._weights, self._keys):
                    array[:n] = array[self._begin : self._end].copy()
                self._begin, self._end = 0, n
            count = min(len(votes), len(self._frauds) - self._end)
            at = slice(self._end, self._end + count)
            self._votes[at], votes = votes[:count], votes[count:]
            self._frauds[at], frauds = frauds[:count], frauds[count:]
            self._weights[at], weights = weights[:count], weights[count:]
            self._keys[at], keys = keys[:count], keys[count:]
            self._end += count

    def correct(self, key: int, is_fraud: bool, weight: float) -> bool:
        """Correct the newest example of the other class with this key; False: none is held."""
        span = slice(self._begin, self._end)
        found = np.flatnonzero((self._keys[span] == key) & (self._frauds[span] != is_fraud))
        if not len(found):
            return False
        at = self._begin + int(found[-1])
        self._frauds[at], self._weights[at] = is_fraud, weight
        return True

    def keep(self, count: int) -> None:
        """Keep the last `count`."""
        self._begin = max(self._begin, self._end - count)

    def trim(self, max_frauds: int) -> None:
        """Keep the last so many frauds, and what came since the first of them."""
        self.keep(self.max_examples)
        at = np.flatnonzero(self._frauds[self._begin : self._end])
        if len(at) > max_frauds:
            self._begin += int(at[-max_frauds])

    def columns(self) -> tuple[Floats, Bools, Floats]:
        span = slice(self._begin, self._end)
        return self._votes[span].astype(np.float64), self._frauds[span], self._weights[span]


def as_rows(examples: Sequence[FeatureDict]) -> tuple[tuple[Any, ...], Rows]:
    """Return the features that there are, and the examples as rows of them; NaN: has none such."""
    names = tuple(examples[0])
    if all(tuple(x) == names for x in examples):
        with suppress(TypeError, ValueError):  # a value that is no number
            whole = np.array([[*x.values()] for x in examples], dtype=np.float64)
            return names, whole.reshape(len(examples), len(names)).astype(np.float32)
    names = tuple(dict.fromkeys(name for x in examples for name in x))
    found = [[number(x.get(name, math.nan)) for name in names] for x in examples]
    rows = np.array(found, dtype=np.float64).reshape(len(examples), len(names)).astype(np.float32)
    return names, rows


def _runs(corrects: Sequence[bool]) -> list[tuple[slice, bool]]:
    """Where corrections stand, one at a time, and what lies between them.

    >>> _runs([False, False, True, True, False])
    [(slice(0, 2, None), False), (slice(2, 3, None), True), (slice(3, 4, None), True), \
(slice(4, 5, None), False)]
    """
    runs, begin = [], 0
    for at in [*np.flatnonzero(corrects).tolist(), len(corrects)]:
        if begin < at:
            runs.append((slice(begin, at), False))
        if at < len(corrects):
            runs.append((slice(at, at + 1), True))
        begin = at + 1
    return runs


def _learned(learner: Learner, block: Sequence[Told]) -> Steps[None]:
    """Have a learner of single examples learn a block, a few in each step."""
    correct = getattr(learner, "correct", learner.learn_one)
    for at, (x, is_fraud, w, corrects) in enumerate(block):
        if at % _STEP == 0:
            yield None
        (correct if corrects else learner.learn_one)(x, is_fraud, w=w)


def _learned_as_rows(
    learner: Any,
    block: Sequence[Told],
    names: tuple[Hashable, ...],
    columns: tuple[Rows, Bools, Floats],
    runs: Sequence[tuple[slice, bool]],
) -> Steps[None]:
    """Have a learner of rows learn a block whose features, labels and weights stand in columns."""
    correct = getattr(learner, "correct", learner.learn_one)
    for at, corrects in runs:
        begin = at.start
        while begin < at.stop:
            yield getattr(learner, "awaited", None)
            if corrects:
                x, is_fraud, w, _ = block[begin]
                correct(x, is_fraud, w=w)
                begin += 1
            else:
                rows, frauds, weights = (column[begin : at.stop] for column in columns)
                begin += learner.learn_rows(names, rows, frauds, weights)


def _log_odds(learner: Learner, names: tuple[Hashable, ...], rows: Rows) -> Floats:
    if not len(rows):
        return np.empty(0)
    by_rows = getattr(learner, "probabilities", None)
    if by_rows is not None:
        found = np.asarray(by_rows(names, rows), dtype=np.float64)
    else:
        found = np.array(
            [
                learner.predict_proba_one(dict(zip(names, row, strict=True))).get(True, 0.5)
                for row in rows.tolist()
            ]
        )
    p = np.clip(found, 1e-12, 1.0 - 1e-12)
    log_odds: Floats = np.clip(np.log(p / (1.0 - p)), -_SURE, _SURE)
    return log_odds
