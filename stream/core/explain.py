"""Reason codes of an alert: which features moved its score most against the legitimate habit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream.events import Reason, logit


class Habit:
    """Decayed mean of each feature over legitimate examples, by what they stand for.

    Parameters
    ----------
    half_life
        In labels.
    """

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self.means: dict[str, float] = {}
        self._weight = 0.0

    def learn(self, features: Mapping[str, float], weight: float) -> None:
        """Take in a legitimate example that stands for `weight` transactions."""
        self._weight = self._weight * 0.5 ** (weight / self.half_life) + weight
        share = weight / self._weight
        for name, value in features.items():
            mean = self.means.get(name, value)
            self.means[name] = mean + share * (value - mean)


def reasons(
    features: Mapping[str, float],
    habit: Mapping[str, float],
    score: Callable[[dict[str, float]], float],
    top: int = 3,
) -> tuple[Reason, ...]:
    """Return the features without which the score falls most, the first being the strongest.

    Each feature in turn is set to its habit, the others staying, and the log-odds that the score
    loses are its effect: occlusion, after Zeiler and Fergus (2014). It asks nothing of the model
    but scores, one for each feature. Features that do not lower the score are left out.

    Parameters
    ----------
    features
        Of the alert, by name.
    habit
        The usual value of each; features without one are passed over.
    score
        Features to a score in [0, 1].
    top
        How many reasons at most.

    Examples
    --------
    >>> found = reasons({"a": 1.0, "b": 1.0}, {"a": 0.0, "b": 1.0}, lambda x: 0.1 + 0.8 * x["a"])
    >>> [reason.feature for reason in found]
    ['a']
    """
    full = logit(score(dict(features)))
    found = []
    for name, value in features.items():
        usual = habit.get(name, value)
        if usual == value:
            continue
        effect = full - logit(score({**features, name: usual}))
        if effect > 0:
            found.append(Reason(feature=name, value=value, habit=usual, effect=effect))
    return tuple(sorted(found, key=lambda reason: -reason.effect)[:top])
