"""The results as the tables of docs/benchmarks.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ranking.results import Results
from benchmarks.ranking.rows import names

COLUMNS = {
    "average_precision": "average precision",
    "log_loss": "log loss",
    "calibration": "calibration",
    "calibration_error": "calibration error",
    "microseconds_per_transaction": "µs per transaction",
}
_NONE_YET = "Not measured yet.\n"


def write(path: Path, results: Results) -> None:
    """Put the tables between the markers of a page; the words around them stay.

    Raises `ValueError` where a marker is missing.
    """
    text = path.read_text()
    for section, make in SECTIONS.items():
        found = results.get(section)
        text = placed(text, section, make(found) if found else _NONE_YET, path.name)
    path.write_text(text)


def placed(text: str, section: str, made: str, page: str = "the page") -> str:
    """Return a text with what is between the markers of a section replaced.

    >>> placed("a <!-- drift -->old<!-- /drift --> b", "drift", "new")
    'a <!-- drift -->\\n\\nnew\\n<!-- /drift --> b'
    """
    begin, end = f"<!-- {section} -->", f"<!-- /{section} -->"
    if begin not in text or end not in text.partition(begin)[2]:
        raise ValueError(f"{page} lacks the markers {begin} and {end}; put them where it goes")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{made}\n{end}{rest.partition(end)[2]}"


def ranking(streams: Mapping[str, Any]) -> str:
    """The table: average precision over all streams, then every column for each stream."""
    parts = [_overview(streams)]
    for name, stream in streams.items():
        rows = _in_order(stream["rows"])
        parts.append(f"### {name}\n\n{_sentence(stream['about'], rows)}\n")
        cells = [
            [row, *(_number(column, figures.get(column)) for column in COLUMNS)]
            for row, figures in rows.items()
        ]
        parts.append(_table(["", *COLUMNS.values()], cells))
    parts.append(_made_with(streams))
    return "\n".join(parts)


def robustness(streams: Mapping[str, Any]) -> str:
    """The second table: average precision by level of imbalance and quality of labels."""
    return "\n".join([_overview(streams), _frauds(streams), _made_with(streams)])


def drift(streams: Mapping[str, Any]) -> str:
    """Recovery and calibration after a change, one table for each kind of change."""
    parts = []
    for name, stream in streams.items():
        rows = _in_order(stream["rows"])
        parts.append(f"### {name}\n\n{_capital(stream['about'])}.\n")
        cells = []
        for row, found in rows.items():
            back, blocks = found["back_after"], found["calibrations"]
            calibrated = [found["calibration_before"], *blocks]
            cells.append(
                [
                    row,
                    f"{found['before']:.3f}",
                    *(f"{found[key]:.0%}" for key in ("lowest", "after")),
                    "not" if back is None else f"{back:,}",
                    *("–" if c is None else f"{c:.2f}" for c in calibrated[:2]),
                    " ".join("–" if c is None else f"{c:.2f}" for c in calibrated[2:]),
                ]
            )
        head = ["", "before", "lowest", "at the end", "back at 90 % after labels"]
        head += ["calibration before", "first 5,000", "by 5,000 from there"]
        parts.append(_table(head, cells))
    parts.append(_made_with(streams))
    return "\n".join(parts)


SECTIONS = {"table": ranking, "robustness": robustness, "drift": drift}


def _overview(streams: Mapping[str, Any]) -> str:
    """Average precision, rows by streams, the best of each stream in bold."""
    best = {
        name: max((f["average_precision"] or 0.0 for f in stream["rows"].values()), default=0.0)
        for name, stream in streams.items()
    }
    cells = []
    for row in _in_order({r: None for stream in streams.values() for r in stream["rows"]}):
        line = [row]
        for name, stream in streams.items():
            value = stream["rows"].get(row, {}).get("average_precision")
            text = "" if value is None else f"{value:.3f}"
            line.append(f"**{text}**" if value is not None and value >= best[name] else text)
        cells.append(line)
    return _table(["average precision", *streams], cells)


def _frauds(streams: Mapping[str, Any]) -> str:
    """How many frauds each figure rests on."""
    counts = []
    for name, stream in streams.items():
        figures = next(iter(stream["rows"].values()))
        counts.append(f"{name} {figures['frauds']:,} of {figures['transactions']:,}")
    return f"Frauds among the transactions that count: {'; '.join(counts)}.\n"


def _sentence(about: str, rows: Mapping[str, Any]) -> str:
    figures = next(iter(rows.values()))
    fewest, most = (
        pick(row["features"] for row in rows.values() if "features" in row) for pick in (min, max)
    )
    count = str(most) if fewest == most else f"{fewest} to {most}"
    text = (
        f"{_capital(about)}: {figures['transactions']:,} transactions count, "
        f"{figures['frauds']:,} of them frauds; {count} features."
    )
    few, many = (pick(row.get("seeds", 1) for row in rows.values()) for pick in (min, max))
    if many > 1:
        text += f" Means of {many if few == many else f'{few} to {many}'} runs with other seeds."
    if len({row["features_digest"] for row in rows.values()}) > 1:
        text += " Not all rows were run with the same features: run them again."
    return text


def _made_with(streams: Mapping[str, Any]) -> str:
    """Versions and notes of the rows, each said once."""
    rows = [(n, f) for s in streams.values() for n, f in s["rows"].items()]
    made = sorted({figures["versions"] for _, figures in rows})
    notes = sorted({f"{name}: {f['note']}" for name, f in rows if f.get("note")})
    lines = [f"Made with {'; and with '.join(made)}.", *(f"- {note}" for note in notes)]
    return "\n".join([lines[0], "", *lines[1:], ""])


def _in_order(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Rows in the table's order, those it no longer knows at the end."""
    known = names()
    ordered = [*(n for n in known if n in rows), *(n for n in rows if n not in known)]
    return {name: rows[name] for name in ordered}


def _number(column: str, value: float | None) -> str:
    if value is None:
        return "–"
    if column == "microseconds_per_transaction":
        return f"{value:,.0f}"
    if column == "calibration":
        return f"{value:.2f}"
    return f"{value:.5f}" if column != "average_precision" else f"{value:.3f}"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *lines))


def _capital(text: str) -> str:
    return re.sub(r"^.", lambda first: first.group().upper(), text)
