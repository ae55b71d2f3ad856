"""A detector with other settings, over what was decided already, in memory."""

from __future__ import annotations

import numpy as np

from stream.core.comparison import Comparison
from stream.core.detector import Detector
from stream.core.model import Model
from stream.core.own import OwnFeatures
from stream.evaluation import RequestError
from stream.events import WindowReport
from stream.io.intake import Outcome, handle
from stream.settings import Settings
from stream.shadow.course import Step
from stream.shadow.past import Past


def new_detector(settings: Settings, partitions: int) -> Detector:
    """Return a detector that knows nothing yet, with the account state of all partitions open.

    Raises `RequestError` for a learner, policy or features that are not known.
    """
    try:
        OwnFeatures(settings.features)
        detector = Detector(settings, Model(settings), partitions)
    except ValueError as error:
        raise RequestError(str(error)) from error
    for partition in range(partitions):
        detector.open(partition)
    return detector


class Challenger:
    """Decides once more, learns what comes of it at once, and is compared with the one in force.

    Its examples are thinned by its own scores and go into no log. What was learned of transactions
    before its time it learns from the training log (`past`), or not at all.
    """

    def __init__(self, detector: Detector, comparison: Comparison, past: Past | None) -> None:
        self.detector = detector
        self.comparison = comparison
        self._past = past

    def step(self, step: Step) -> int:
        """Decide a batch, and return how many transactions it held."""
        if self._past is not None:
            self._past.learn_until(step.model_position)
        outcome = handle(self.detector, step.batch)
        self._compare(outcome, step)
        examples, model = outcome.examples, self.detector.model
        self.detector.on_examples(examples, model.position + len(examples))
        return sum(len(decisions.transactions) for decisions in outcome.decisions.values())

    def windows(self) -> list[WindowReport]:
        """Return the reports of windows that changed since the last call and hold what counts."""
        graded = self.comparison.graded_seconds
        return [
            report
            for shard in self.detector.shards.values()
            for report in shard.windows.changed()
            if report.start.timestamp() + report.seconds > graded
        ]

    def _compare(self, outcome: Outcome, step: Step) -> None:
        for partition, decisions in outcome.decisions.items():
            known = step.in_force[partition]
            pairs = [known[tx.transaction_id] for tx in decisions.transactions]
            scores, thresholds = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
            self.comparison.decided(partition, decisions, scores, thresholds)
        for partition, joined in zip(outcome.joined_of, outcome.joined, strict=True):
            self.comparison.labelled(partition, joined)
