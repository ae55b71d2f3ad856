"""The audit as one HTML page that needs nothing but itself: no script, no font, no other host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from stream.audit.charts import Line, chart
from stream.evaluation.page import FRAME, STYLE

_MOVES = 20
"""Of the threshold, that the page shows; audit.json has more."""
_STYLE = """
  h2.part { font-size: 19px; margin: 36px 0 12px; }
  p.note { color: var(--muted); margin: 0 0 14px; max-width: 75ch; }
  section .scroll { border: 0; padding: 0; margin: 0; }
  .figures tbody th { white-space: nowrap; }
  .apart { font-weight: 650; }
"""


def page(found: Mapping[str, Any]) -> str:
    """Return the page of what an audit says (`facts`)."""
    parts = [
        _header(found),
        _tiles(found),
        _balance(found),
        _done(found),
        _thresholds(found),
        _quality(found),
        _segments(found),
        _drifts(found),
        _alarms(found),
        _integrity(found),
        _made(found),
    ]
    return FRAME.format(title="Weir: audit", style=STYLE + _STYLE, body="\n".join(parts))


def _header(found: Mapping[str, Any]) -> str:
    stream = found["stream"]
    return (
        "<header><h1>Audit of what was learned</h1><p>Transactions of "
        f"{_when(stream['first_transaction'])} to {_when(stream['last_transaction'])} (event time, "
        f"UTC); {escape(stream['bus'])}, topic {escape(stream['training_topic'])}</p></header>"
    )


def _tiles(found: Mapping[str, Any]) -> str:
    log, whole = found["log"], found["log"]["whole"]
    tiles = {
        "examples": f"{log['examples']:,}",
        "frauds in traffic": _share(whole["fraud_rate"]),
        "imbalance": whole["tier"] or "–",
        "frauds in the log": _share(whole["share_in_log"]),
        "corrections": f"{sum(whole['corrections'].values()):,}",
    }
    inside = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in tiles.items())
    return f'<dl class="tiles">{inside}</dl>'


def _balance(found: Mapping[str, Any]) -> str:
    days = found["log"]["days"]
    in_force = {each["day"]: each.get("in_force", {}) for each in _days(found)}
    learned = [_last(in_force.get(day["day"]), "learned_share") for day in days]
    places = [day["day"][5:] for day in days]
    lines = [
        Line("traffic", [day["fraud_rate"] for day in days]),
        Line("training log", [day["share_in_log"] for day in days]),
    ]
    if any(value is not None for value in learned):
        lines.append(Line("learned lately", learned))
    rates = [Line("kept", [day["rate_kept"] for day in days])]
    asked = [_last(in_force.get(day["day"]), "sampling_rate") for day in days]
    if any(value is not None for value in asked):
        rates.append(Line("asked for", asked))
    counts = [
        Line(name, [float(day["examples"].get(key, 0)) for day in days])
        for name, key in (("legitimate", "legitimate"), ("frauds", "fraud"))
    ]
    rows = [
        [
            day["day"],
            f"{day['stands_for']:,.0f}",
            _share(day["fraud_rate"]),
            day["tier"] or "–",
            f"{day['examples'].get('legitimate', 0):,}",
            f"{day['examples'].get('fraud', 0):,}",
            _share(day["share_in_log"]),
            _share(day["rate_kept"]),
            f"{sum(day['corrections'].values()):,}",
        ]
        for day in days
    ]
    head = [
        *("day", "labelled", "frauds", "imbalance", "legitimate examples", "fraud examples"),
        *("frauds in log", "kept", "corrections"),
    ]
    return (
        _title("Class balance")
        + _note(
            "By day of the transactions. Traffic is estimated from the log: each example stands "
            "for as many labelled transactions as its weight says. Imbalance: to 1:20 mild, to "
            "1:100 moderate, beyond severe."
        )
        + _grid(
            [
                _figure("Share of frauds", chart("", places, lines, _percent, logarithmic=True)),
                _figure(
                    "Examples in the log",
                    chart("", places, counts, lambda v: f"{v:,.0f}", logarithmic=True),
                ),
                _figure(
                    "Legitimate ones kept", chart("", places, rates, _percent, logarithmic=True)
                ),
            ]
        )
        + _rows(head, rows)
    )


def _done(found: Mapping[str, Any]) -> str:
    balance, log = found["balance"], found["log"]
    said = {
        "strategy": f"{balance['strategy']}: {balance['what_it_does']}",
        "learner": balance["learner"],
        "target share": "none, or one of each member's own" if balance["target_share"] is None
        else f"{balance['target_share']:g}",
        "probabilities": balance["prior_correction"],
        "order": balance["order"],
        "labels by source": _counted(log["sources"]),
        "examples by weight": _counted(log["weights"]),
        "corrections": "by what holds now: " + (_counted(log["whole"]["corrections"]) or "none"),
    }  # fmt: skip
    return _title("What was done about it") + f"<section>{_pairs(said)}</section>"


def _thresholds(found: Mapping[str, Any]) -> str:
    days = [day for day in _days(found) if day.get("in_force")]
    said = {"policy": found["threshold"]["policy"]}
    if found["threshold"]["reason"] is not None:
        said["now"] = f"{found['threshold']['in_force']:.4g}: {found['threshold']['reason']}"
    drawn = ""
    if days:
        places = [day["day"][5:] for day in days]
        lines = [
            Line(name, [day["in_force"]["threshold"][name] for day in days])
            for name in ("least", "greatest", "last")
        ]
        drawn = _grid(
            [
                _figure(
                    "Threshold in force, by day",
                    chart("", places, lines, lambda v: f"{v:.3g}"),
                )
            ]
        )
    drawn = _title("Thresholds") + f"<section>{_pairs(said)}</section><br>" + drawn
    moves = (found["refold"] or {"threshold_moves": []})["threshold_moves"][-_MOVES:]
    rows = [
        [
            f"{move['position']:,}",
            _when(move["labelled_at"]),
            "–" if move["threshold"] is None else f"{move['threshold']:.4g}",
            move["reason"],
        ]
        for move in reversed(moves)
    ]
    return drawn + (_rows(["position", "label of", "threshold", "why"], rows) if rows else "")


def _quality(found: Mapping[str, Any]) -> str:
    days = [day for day in _days(found) if day["windows"]]
    title = _title("How it did")
    if not days:
        return title + _note(
            "Redis holds no window of that time, or was not asked. What the log says of it is in "
            "audit.json: recall and precision by day, the latter from weights."
        )
    places = [day["day"][5:] for day in days]
    lines = [
        Line(
            name,
            [day["measures"][name] for day in days],
            [day[f"{name}_interval"] for day in days],
        )
        for name in ("precision", "recall")
    ]
    ranked = [Line("average precision", [day["measures"]["average_precision"] for day in days])]
    rows = []
    for day in (*days, {"day": "all", **found["quality"]["whole"]}):
        m = day["measures"]
        rows.append(
            [
                day["day"],
                f"{m['transactions']:,}",
                _share(m["label_coverage"]),
                f"{m['frauds']:,}",
                f"{m['alerts']:,}",
                _interval(m["precision"], day["precision_interval"]),
                _interval(m["recall"], day["recall_interval"]),
                _number(m["f1"]),
                _number(m["average_precision"]),
                _number(m["log_loss"], 4),
                _number(m["calibration"], 2),
            ]
        )
    head = [
        *("day", "transactions", "labelled", "frauds", "alerts", "precision", "recall", "F1"),
        *("average precision", "log loss", "calibration"),
    ]
    return (
        title
        + _note(
            "From the windows in Redis, as far as labels have come; intervals of 90 %. They "
            "take transactions for independent: frauds come in runs, so the truth is wider."
        )
        + _grid(
            [
                _figure("Precision and recall", chart("", places, lines, _percent)),
                _figure("Average precision", chart("", places, ranked, lambda v: f"{v:.2g}")),
            ]
        )
        + _rows(head, rows)
    )


def _segments(found: Mapping[str, Any]) -> str:
    fields = (found["quality"] or {}).get("whole", {}).get("segments") or {}
    title = _title("Segments")
    if not fields:
        return title + _note("The windows tell of no segments.")
    drawn = title + _note(
        "Error rates by part of the stream, with 90 % intervals; bold where that of all lies "
        "outside."
    )
    head = [
        *("value", "transactions", "alerts", "frauds", "flagged of the legitimate"),
        "missed of the frauds",
    ]
    for name, values in fields.items():
        rows = [
            [
                each["value"],
                f"{each['transactions']:,}",
                f"{each['alerts']:,}",
                f"{each['true_positives'] + each['false_negatives']:,}",
                _rate(each, "false_positive"),
                _rate(each, "false_negative"),
            ]
            for each in values
        ]
        drawn += f"<h2>{escape(name)}</h2>" + _rows(head, rows)
    return drawn


def _drifts(found: Mapping[str, Any]) -> str:
    refold, title = found["refold"], _title("Drifts, and the model learned anew")
    if refold is None:
        return title + _note(
            "Not asked for: --refold learns the log once more, lists the drifts that were found on "
            "the way, and compares the model with what was in force."
        )
    said = {
        "learned": f"{refold['learned']:,} examples, to position {refold['position']:,}",
        "compared": f"{refold['windows_compared']:,} windows tell what was in force at a position: "
        f"{refold['windows_that_differ']:,} differ",
        "drifts": _counted(refold["drifts_by_figure"]),
        "threshold": refold["threshold_reason"],
    }
    moments = refold["moments"]
    places = [f"{moment['position']:,}" for moment in moments]
    names = list(refold["weights"])
    lines = [Line(name, [moment["weights"].get(name) for moment in moments]) for name in names]
    rows = [
        [drift["figure"], f"{drift['position']:,}", _when(drift["labelled_at"])]
        for drift in refold["drifts"]
    ]
    drawn = title + f"<section>{_pairs(said)}</section><br>"
    drawn += _grid([_figure("Say of the members, over positions of the log",
                            chart("", places, lines, _percent))])  # fmt: skip
    return drawn + (_rows(["figure", "position", "label of"], rows) if rows else "")


def _alarms(found: Mapping[str, Any]) -> str:
    title = _title("Alarms")
    if not found["workers"]:
        return title + _note("No worker reports now, so nothing is known of alarms.")
    if not found["alarms"]:
        return title + _note("None is raised now.")
    rows = [
        [alarm["name"], alarm["worker"], _when(alarm["since"]), alarm["cause"], alarm["look"]]
        for alarm in found["alarms"]
    ]
    return title + _rows(["alarm", "worker", "since", "cause", "look at"], rows)


def _integrity(found: Mapping[str, Any]) -> str:
    log = found["log"]
    said = {
        "positions read": f"{log['read_from']:,} to {log['read_to']:,}",
        "of that time": f"{log['examples']:,} examples, the first at {log['first_position']:,}, "
        f"the last at {log['last_position']:,}",
        "positions without a record": f"{log['positions_without_a_record']:,}",
        "unreadable": f"{log['unreadable']:,}",
        "labels that came late": f"{log['late']:,}",
        "SHA-256": log["sha256"],
    }
    return (
        _title("Integrity")
        + _note(
            "SHA-256 over the values of the examples of that time, in the order of their "
            "positions, a newline behind each. The same flags with --until-position "
            f"{log['read_to']} come to the same. On Kafka, the end of each commit takes a position."
        )
        + f"<section>{_pairs(said)}</section>"
    )


def _made(found: Mapping[str, Any]) -> str:
    settings = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in found["settings"].items()
    }
    command = (
        f"<section><h2>Command</h2><pre><code>{escape(found['command'])}</code></pre></section>"
    )
    return (
        f"{command}<details><summary>Settings</summary>{_pairs(settings)}</details>"
        f"<details><summary>Versions</summary>{_pairs(found['versions'])}</details>"
    )


def _days(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return (found["quality"] or {"days": []})["days"]  # type: ignore[no-any-return]


def _last(in_force: Mapping[str, Any] | None, name: str) -> float | None:
    return in_force[name]["last"] if in_force else None


def _title(text: str) -> str:
    return f'<h2 class="part">{escape(text)}</h2>'


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _grid(figures: Iterable[str]) -> str:
    return f'<div class="grid">{"".join(figures)}</div><br>'


def _figure(title: str, svg: str) -> str:
    return f"<figure><h2>{escape(title)}</h2>{svg}</figure>" if svg else ""


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(map(_cell, row[1:]))}</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table class="figures"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


_APART = "\N{ZERO WIDTH SPACE}"
"""Marks a cell that stands out."""


def _cell(text: str) -> str:
    return f'<td class="apart">{escape(text[1:])}</td>' if text.startswith(_APART) else (
        f"<td>{escape(text)}</td>"
    )  # fmt: skip


def _rate(segment: Mapping[str, Any], name: str) -> str:
    text = _interval(segment[f"{name}_rate"], segment[f"{name}_interval"], digits=4)
    return _APART + text if name in segment["apart"] else text


def _pairs(rows: Mapping[str, str]) -> str:
    inside = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in rows.items())
    return f'<dl class="pairs">{"".join(inside)}</dl>'


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items())


def _interval(value: float | None, interval: Sequence[float] | None, digits: int = 3) -> str:
    if value is None or interval is None:
        return "–"
    return f"{value:.{digits}f} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else _percent(value)


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _when(text: str | None) -> str:
    return "–" if text is None else escape(text[:16].replace("T", " "))
