"""Figures and reasons as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from stream.core.alarms import KINDS
from stream.core.estimate import Estimate
from stream.events import Reason

UNKNOWN = "–"
"""What stands where a figure is not known."""

_BARS = "▁▂▃▄▅▆▇█"
_SIDES = {"orig": "origin", "dest": "destination"}
_SURE = 0.05
"""Chance below which two deciders are said to differ."""


def figure(value: float | None, *, sampled: bool = False) -> str:
    """A rate between 0 and 1 with two decimals; "~" before it where most labels are missing.

    >>> figure(0.846), figure(0.846, sampled=True), figure(None)
    ('0.85', '~0.85', '–')
    """
    return UNKNOWN if value is None else f"{'~' if sampled else ''}{value:.2f}"


def estimated(estimate: Estimate) -> tuple[str, str]:
    """An estimate, "?" behind it where it is not to be trusted, and its interval.

    >>> estimated(Estimate(0.93, 0.85, 0.97, True)), estimated(Estimate(0.5, 0.1, 0.9, False, ""))
    (('0.93', '0.85 to 0.97'), ('0.50?', '0.10 to 0.90'))
    """
    if estimate.value is None:
        return UNKNOWN, "no alerts"
    doubt = "" if estimate.trusted else "?"
    return f"{estimate.value:.2f}{doubt}", f"{estimate.low:.2f} to {estimate.high:.2f}"


def percent(share: float | None) -> str:
    """A share as a percentage with two significant digits or more.

    >>> percent(0.00129), percent(0.5), percent(0.0), percent(0.9996), percent(None)
    ('0.13 %', '50 %', '0 %', '99.9 %', '–')
    """
    if share is None:
        return UNKNOWN
    points = 100 * share
    if points in {0, 100}:
        return f"{points:.0f} %"
    if points > 99:
        return f"{math.floor(points * 10) / 10:.1f} %"  # never 100 % before it is
    digits = 0 if points >= 10 else min(1 - math.floor(math.log10(abs(points))), 6)
    return f"{points:.{digits}f} %"


def one_in(share: float) -> str:
    """How rare a share is.

    >>> one_in(0.00129), one_in(0.0)
    ('1 in 775', 'none')
    """
    return f"1 in {1 / share:,.0f}" if share > 0 else "none"


def amount(value: float) -> str:
    """An amount in at most six characters.

    >>> [amount(v) for v in (0, 12.5, 999.4, 18_200, 1_250_000, 3.2e9)]
    ['0', '12.50', '999', '18.2k', '1.25M', '3.20G']
    """
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit * 0.9995:
            scaled = value / limit
            return f"{scaled:.{max(0, 3 - len(str(int(abs(scaled)))))}f}{unit}"
    return f"{value:.0f}" if abs(value) >= 100 or value == 0 else f"{value:.2f}"


def milliseconds(value: float) -> str:
    """A latency in milliseconds below two seconds, in seconds above.

    >>> milliseconds(3.21), milliseconds(48.2), milliseconds(12_000)
    ('3.2 ms', '48 ms', '12.0 s')
    """
    if value >= 2000:
        return f"{value / 1000:.1f} s"
    return f"{value:.{1 if value < 10 else 0}f} ms"


def duration(seconds: float) -> str:
    """A time span in its two largest units.

    >>> duration(8), duration(95), duration(3_720), duration(200_000)
    ('8 s', '1 min 35 s', '1 h 2 min', '2 d 7 h')
    """
    left = timedelta(seconds=round(seconds))
    parts = [(left.days, "d"), (left.seconds // 3600, "h"), (left.seconds // 60 % 60, "min")]
    parts.append((left.seconds % 60, "s"))
    first = next((i for i, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def alarm_in_words(name: str) -> str:
    """Say what an alarm means, and its subject.

    >>> alarm_in_words("prior_shift"), alarm_in_words("feature_missing:dest_balance")
    ('fraud rate has shifted', 'a field has gone missing (dest_balance)')
    """
    kind, _, subject = name.partition(":")
    said = KINDS[kind].words if kind in KINDS else kind.replace("_", " ")
    return f"{said} ({subject})" if subject else said


def moment(time: datetime, *, year: bool = False) -> str:
    """A time to the minute, in UTC."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M" if year else "%m-%d %H:%M")


def sparkline(values: Sequence[float | None], width: int) -> str:
    """The last `width` values of 0 to 1 as bars, a dot where one is not known.

    >>> sparkline([0.0, 0.5, None, 1.0], width=3)
    '▅·█'
    """
    return "".join(
        "·" if value is None else _BARS[min(max(int(value * 8), 0), 7)]
        for value in list(values)[-width:]
    )


def reason_in_words(reason: Reason) -> str:
    """Say what a feature of `core.features` means for this alert, against its habit.

    >>> reason_in_words(Reason(feature="drains", value=1, habit=0, effect=2.0))
    'drains the account'
    >>> reason_in_words(Reason(feature="dest_amount_ratio_24h", value=2.5, habit=0, effect=1.0))
    "12x destination's usual amount"
    """
    name, value, more = reason.feature, reason.value, reason.value > reason.habit
    side, _, history = name.partition("_")
    if side in _SIDES and history not in {"balance", "balance_missing", "empty", "merchant"}:
        return _history(_SIDES[side], history, value, more) or f"{name} {value:.3g}"
    if name.startswith("type_"):
        kind = "of a rare type" if name == "type_other" else name.removeprefix("type_")
        return kind if value >= 0.5 else f"not {kind}"
    return {
        "amount": "large amount" if more else "small amount",
        "orig_balance_missing": "origin's balance is unknown" if more else "origin's balance",
        "dest_balance_missing": "destination's balance is unknown" if more else "dest. balance",
        "orig_balance": f"origin's balance is {'high' if more else 'low'}",
        "dest_balance": f"destination's balance is {'high' if more else 'low'}",
        "amount_to_balance": (
            "amount exceeds the balance" if value > 1 else f"takes {percent(value)} of the balance"
        ),
        "drains": "drains the account" if more else "leaves money behind",
        "dest_empty": "destination was empty" if more else "destination was not empty",
        "dest_merchant": "to a merchant" if more else "not to a merchant",
        "novelty": "unlike the stream so far" if more else "as usual in the stream",
        "hour_sin": "time of day",
        "hour_cos": "time of day",
    }.get(name, f"{name} {value:.3g}")


def reasons_in_words(reasons: Sequence[Reason], most: int) -> str:
    """Say the strongest reasons, one behind the other, as `told_apart` has them."""
    return ", ".join(told_apart(reasons, most))


def told_apart(reasons: Sequence[Reason], most: int) -> list[str]:
    """Say the strongest reasons, each once: two half-lives of one history read alike."""
    return list(dict.fromkeys(map(reason_in_words, reasons)))[:most]


def members(weights: Mapping[str, float]) -> str:
    """The members of the committee that have a say, with their shares of the vote.

    >>> members({"linear 0.1": 0.24, "boosted 0.1": 0.76, "forest 0.1": 0.0})
    'boosted 0.1 76 %, linear 0.1 24 %'
    """
    heard = sorted((-share, name) for name, share in weights.items() if share >= 0.005)
    return ", ".join(f"{name} {percent(-share)}" for share, name in heard) or UNKNOWN


def disagreement(apart: Mapping[str, float]) -> list[str]:
    """Return in sentences what the two disagree on, and whether chance would do it.

    >>> lines = disagreement({
    ...     "frauds_only_in_force": 2, "frauds_only_challenger": 12, "frauds_by_chance": 0.013,
    ...     "false_only_in_force": 5, "false_only_challenger": 4, "false_by_chance": 1.0})
    >>> lines[0]
    'frauds: 2 caught only in force, 12 only by the challenger: more than chance (p 0.013)'
    >>> lines[1]
    'false alarms: 5 only in force, 4 only by the challenger: chance would do (p 1)'
    """
    lines = []
    for key, what, verb in (("frauds", "frauds", " caught"), ("false", "false alarms", "")):
        first, second = apart[f"{key}_only_in_force"], apart[f"{key}_only_challenger"]
        p = apart[f"{key}_by_chance"]
        if first == second == 0:
            lines.append(f"{what}: both the same")
            continue
        said = "more than chance" if p < _SURE else "chance would do"
        lines.append(
            f"{what}: {first:,.0f}{verb} only in force, {second:,.0f} only by the challenger: "
            f"{said} ({_chance(p)})"
        )
    return lines


def _chance(p: float) -> str:
    return f"p {p:.2g}" if p >= 1e-9 else "p below 1e-9"


def _history(side: str, feature: str, value: float, more: bool) -> str | None:
    kind, _, half_life = feature.rpartition("_")
    times, hours = math.exp(min(max(value, -9.0), 9.0)), math.expm1(min(value, 20.0))
    # `core.features` counts no further than 60 days.
    ever, lasted = hours <= 24 * 59, duration(3600 * hours)
    unseen = f"unseen for {lasted}" if ever else "not seen before"
    does = "pays" if side == "origin" else "is paid"
    often = f"{side} {does} often, about {hours:,.0f} times over {half_life}"  # log(1 + number)
    words = {
        "count": (
            (often if hours >= 1.5 else f"{side} busy over {half_life}")
            if more
            else f"{side} quiet over {half_life}"
        ),
        "amount_ratio": (
            f"{times:,.{0 if times >= 2 else 1}f}x {side}'s usual amount"
            if times >= 0.05
            else f"far below {side}'s usual amount"
        ),
        "amount_unusual": f"{'large' if value > 0 else 'small'} amount for {side}",
        "fraud": f"earlier fraud at {side}" if more else f"no fraud at {side} before",
        "fraud_age": f"fraud at {side} {lasted} ago" if ever else f"no known fraud at {side}",
        "fraud_run": (
            f"nothing but fraud at {side} for {lasted}"
            if value > 0
            else f"no run of frauds at {side}"
        ),
        "labels": f"{'many' if more else 'few'} labels at {side}",
        "label_age": f"{side} labelled {lasted} ago" if ever else f"{side} never labelled",
        "since": f"{side} {unseen}" if more else f"{side} just active",
        "turned": _turned(side, times, more),
    }
    return words.get(feature) or words.get(kind)


def _turned(side: str, times: float, more: bool) -> str:
    """Say how an amount compares with what the account just moved in the other role."""
    if 0.5 <= times <= 2:
        return f"money passes through at {side}"
    if more:
        return f"new money at {side}"
    return f"small beside what {side} just {'received' if side == 'origin' else 'paid'}"
