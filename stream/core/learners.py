"""Named learners: which River models sit in the committee, and at which target share."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from river import base, forest

from stream.core.boosted import BoostedTrees
from stream.core.committee import Committee, Floats, Learner, Member, Rows
from stream.core.linear import Linear
from stream.core.own import named, said
from stream.core.rebalance import FeatureDict, Label, sampling_rate
from stream.core.samplers import SAMPLERS
from stream.core.weighting import HARDEST
from stream.events import logit
from stream.settings import OwnError, Settings

MOST_RATE = 0.2
"""Of the legitimate examples, `auto` sends no more to the training log."""
PLENTY, FRESH = 10_000, 500
"""Until so many legitimate examples were learned `auto` sends as many as it may; then at least
`FRESH` over their number, so that something new is always learned."""
MILD, HARSH = 0.03, 0.1
"""Target shares among which `auto` chooses, besides that of the stream as it is."""
LOG_SHARE = 0.1
"""Share of frauds that `auto` aims at in the training log."""


class Novel(base.Classifier):
    """The one-class member: odds of the class prior times the novelty of the transaction.

    Ranks before the first label, and what no label has shown yet: `novelty` among the features is
    learned from transactions alone (`core.novelty`).

    >>> model = Novel()
    >>> usual, strange = ({"novelty": v} for v in (0.1, 4.0))
    >>> model.predict_proba_one(usual)[True] < model.predict_proba_one(strange)[True]
    True
    """

    def __init__(self, half_life: float = 50_000) -> None:
        self.half_life = half_life
        self._frauds, self._legitimate = 0.5, 500.0

    @property
    def _multiclass(self) -> bool:
        return False

    def learn_one(self, x: FeatureDict, y: Label, w: float = 1.0) -> None:  # noqa: ARG002
        decay = 0.5 ** (w / self.half_life)
        self._frauds = self._frauds * decay + (w if y else 0.0)
        self._legitimate = self._legitimate * decay + (0.0 if y else w)

    def predict_proba_one(self, x: FeatureDict, **kwargs: Any) -> dict[Label, float]:  # noqa: ARG002
        novelty = float(x.get("novelty", 0.0))
        fraud = 1.0 / (1.0 + math.exp(-self._prior_log_odds() - novelty))
        return {False: 1.0 - fraud, True: fraud}

    def probabilities(self, names: tuple[str, ...], rows: Rows) -> Floats:
        """Return the probability of fraud of rows with these columns, shape (n,)."""
        novelty = rows[:, names.index("novelty")] if "novelty" in names else np.zeros(len(rows))
        found: Floats = 1.0 / (1.0 + np.exp(-self._prior_log_odds() - novelty.astype(np.float64)))
        return found

    def _prior_log_odds(self) -> float:
        return logit(self._frauds / (self._frauds + self._legitimate))


def _forest(
    strategy: str, target_share: float, half_life: float, seed: int, *, thrifty: bool = False
) -> Learner:
    """As MOA has it; thrifty, with fewer features and half as many looks for a split."""
    trees = forest.ARFClassifier(
        n_models=5,
        max_features="sqrt" if thrifty else 0.6,  # type: ignore[arg-type] # takes a share, too
        leaf_prediction="mc",  # naive Bayes in the leaves costs ten times as much
        grace_period=100 if thrifty else 50,
        seed=seed,
    )
    sampled: Learner = SAMPLERS[strategy](trees, target_share, half_life, seed)  # type: ignore[assignment] # its `w` has a default
    return sampled


def _boosted(strategy: str, target_share: float, _: float, seed: int) -> Learner:
    return BoostedTrees(target_share, strategy, seed=seed)


KINDS: dict[str, Any] = {"linear": Linear, "forest": _forest, "boosted": _boosted}
"""By name: functions of strategy, target share, half-life of the class prior (labels) and seed."""
LEARNERS = ("auto", *KINDS)
"""Names of the setting `learner`; any other is `package.module:function`."""


def committee(settings: Settings) -> Committee:
    """Return the committee that the settings `learner` and `rebalance` ask for.

    Raises ValueError for a name that is not known.
    """
    strategy, share = settings.rebalance, settings.target_share
    auto = strategy == "auto"
    chosen = "weights" if auto else strategy

    def member(kind: str, share: float, by: str = chosen, *, retires: bool = True) -> Member:
        build = partial(KINDS[kind], by, share, settings.prior_half_life, settings.seed)
        if kind == "forest" and retires:  # it has to show first what it is good for
            return Member(partial(build, thrifty=True), 0.1, retires=True, costly=True)
        return Member(build, 1.0 if retires else 2.0, retires=retires)

    members = {"one-class": Member(partial(Novel, settings.prior_half_life), 0.1, min_frauds=0)}
    kind = settings.learner
    if ":" in kind:
        members[kind] = Member(Own(kind))
    elif kind not in LEARNERS:
        raise ValueError(
            f"learner {kind!r} is not known: give one of {', '.join(LEARNERS)}, or "
            "package.module:function that returns a River classifier"
        )
    elif kind == "forest":
        by = "under" if auto else strategy
        if by in {"weights", "hard"}:
            raise ValueError(
                f"learner forest cannot learn with rebalance {by}: River's forest takes no "
                "weights. Give rebalance none, under, over, hybrid, smote or borderline"
            )
        members[f"forest {share:g}"] = member("forest", share, by, retires=False)
    elif kind != "auto":
        members[f"{kind} {share:g}"] = member(kind, share, retires=False)
    elif auto:
        members[f"linear {HARSH:g}"] = member("linear", HARSH)
        members[f"forest {HARSH:g}"] = member("forest", HARSH, "under")
        members["boosted natural"] = Member(
            partial(BoostedTrees, strategy="none", seed=settings.seed)
        )
        members[f"boosted {MILD:g}"] = member("boosted", MILD, retires=False)
    else:
        members[f"linear {share:g}"] = member("linear", share)
        members[f"boosted {share:g}"] = member("boosted", share, retires=False)
    return Committee(members)


def log_rate(settings: Settings, prior: float, learned: float = 0.0) -> float:
    """Return the mean rate at which legitimate examples go to the training log, in (0, 1].

    What the mildest of the members can use. `auto` bounds what learning costs, and sends more than
    a balanced log needs as long as few legitimate examples were `learned`: by then it is their
    number that teaches what is usual. The more there are, the less the next one adds.
    """
    strategy = settings.rebalance
    if strategy == "auto":
        if ":" in settings.learner:
            return 1.0
        if learned < PLENTY:
            return MOST_RATE
        return min(max(sampling_rate(prior, LOG_SHARE), FRESH / learned), MOST_RATE)
    rate = sampling_rate(prior, settings.target_share)
    return {
        "under": rate,
        "hard": min(HARDEST * rate, 1.0),
        "hybrid": math.sqrt(rate),
        "smote": math.sqrt(rate),
        "borderline": math.sqrt(rate),
    }.get(strategy, 1.0)


def log_rates(settings: Settings, rate: float, prior: float, scores: Floats) -> Floats:
    """Return the rate at which a legitimate example of each score goes to the log, shape (n,).

    Their mean is `rate`, where `prior` is the mean of the scores, and less where they have less.

    With `auto`, half of them by chance and half in proportion to the score they were given,
    ``min(1, r / 2 * (1 + score / prior))``: few easy examples teach what is easy, and what is taken
    for fraud is where there is something to learn. `prior` is the fraud prior, or the mean of the
    scores where that is higher: before the first labels all look like fraud. Each carries one over
    its rate as its weight, so that nothing is biased. Local case-control sampling (Fithian and
    Hastie, Annals of Statistics 42, 2014) with a floor. Elsewhere all alike.
    """
    if settings.rebalance != "auto" or ":" in settings.learner:
        return np.full(len(scores), rate)
    return np.minimum(rate / 2.0 * (1.0 + scores / prior), 1.0)


class Own:
    """A learner of the user's own, found by name: `package.module:function`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> Learner:
        build = named(self.name, "learner")
        try:
            learner = build()
        except Exception as error:
            raise OwnError(
                f"learner {self.name!r} cannot be built: {said(error)}. Give a "
                "function without arguments that returns a River classifier"
            ) from error
        for method in ("learn_one", "predict_proba_one"):
            if not callable(getattr(learner, method, None)):
                raise OwnError(
                    f"learner {self.name!r} returned {type(learner).__name__}, which has no "
                    f"{method}: return a River classifier or a pipeline that ends in one"
                )
        return Unweighted(learner)


class Unweighted:
    """A learner that is given every example as it is, whatever it stands for."""

    def __init__(self, learner: Any) -> None:
        self.learner = learner

    def learn_one(self, x: FeatureDict, y: Label, *, w: float) -> None:  # noqa: ARG002
        self.learner.learn_one(x, y)

    def predict_proba_one(self, x: FeatureDict) -> dict[Label, float]:
        found: dict[Label, float] = self.learner.predict_proba_one(x)
        return found
