"""The parts of the terminal view: each a renderable of a known number of lines."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from stream.events import Alert
from stream.watch import words
from stream.watch.snapshot import SILENT_SECONDS, Snapshot, Span
from stream.watch.words import UNKNOWN, figure, percent

WIDE = 110
"""From this width on, tables have their further columns."""

_NARROW = 76
_SAMPLED = 0.5
"""Below this label coverage a figure is marked as resting on the smaller part of the labels."""
_ACCOUNT_WIDTH = 11
_ENOUGH_FRAUDS = 10
"""Labelled frauds of a segment before its share of missed ones is told."""
_SHOWN_SEGMENTS = 4


class Panel(NamedTuple):
    """Something to print, and how many lines it takes."""

    lines: int
    content: RenderableType


def title(snapshot: Snapshot, width: int) -> Panel:
    """Who works, and up to when."""
    silent = snapshot.silent_seconds()
    if snapshot.trouble:
        state, style = "Redis is away", "bold red"
    elif not snapshot.live:
        state, style = "waiting for a worker", "bold yellow"
    elif silent > SILENT_SECONDS:
        state, style = f"silent for {words.duration(silent)}", "bold yellow"
    else:
        state, style = "live", "green"
    left = _text(" ", ("Weir", "bold"), "  ", (f"● {state}", style))
    if snapshot.live:
        partitions = sum(len(report.partitions) for report in snapshot.live)
        left.append(f"   {_many(len(snapshot.live), 'worker')}, {_many(partitions, 'partition')}")
    time = snapshot.event_time() if width >= _NARROW else None
    table = Table.grid(expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, justify="right")
    table.add_row(left, f"event time {words.moment(time, year=True)} UTC " if time else "")
    return Panel(1, table)


def trouble(message: str, width: int) -> Panel:
    """Why Redis is not read, and that the rest is old."""
    text = f"{message} Shown is what was read last."
    lines = textwrap.wrap(text, max(width - 2, 10), max_lines=4, placeholder=" ...")
    return Panel(len(lines), Text("\n".join(f" {line}" for line in lines), style="red"))


def alarms(snapshot: Snapshot, most: int, *, look: bool) -> Panel:
    """What is raised, a line for each of at most so many: name, since when, cause.

    With a line more for what to `look` at, where there is room.
    """
    raised, lines = snapshot.alarms, list[Text]()
    for alarm in raised[:most]:
        lasted = words.duration(max((snapshot.taken_at - alarm.since).total_seconds(), 0.0))
        name = (f" ▲ {words.alarm_in_words(alarm.name)}", "bold red")
        lines.append(_text(name, f" for {lasted}: {alarm.cause}"))
        if look:
            lines.append(_text((f"   look at {alarm.look}", "dim")))
    if len(raised) > most:
        others = ", ".join(words.alarm_in_words(alarm.name) for alarm in raised[most:])
        lines.append(
            _text((f" ▲ and {_many(len(raised) - most, 'alarm')} more", "red"), f": {others}")
        )
    return Panel(len(lines), Text("\n", no_wrap=True, overflow="ellipsis").join(lines))


def progress(snapshot: Snapshot, width: int) -> Panel:
    """How many were decided: of a total where there is one, else since when."""
    decided, total = snapshot.count("decisions"), snapshot.total
    speed = sum(report.transactions_per_second for report in snapshot.live)
    if not total:
        since = min((report.started_at for report in snapshot.live), default=None)
        up = words.duration((snapshot.taken_at - since).total_seconds()) if since else ""
        rest = f" transactions decided in {up}" if since else " transactions decided"
        return _line(" ", (f"{decided:,}", "bold"), rest)
    text = _text((f"{decided:,}", "bold"), f" of {total:,} decided")
    if 0 < decided < total and speed > 0:
        text.append(f", {words.duration((total - decided) / speed)} left")
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column()
    table.add_column(no_wrap=True, overflow="ellipsis")
    bar = ProgressBar(total=total, completed=min(decided, total), width=max(8, width - 48))
    table.add_row("", bar, text)
    return Panel(1, table)


def speed(snapshot: Snapshot) -> Panel:
    """Whether it keeps up."""
    rate = sum(report.transactions_per_second for report in snapshot.live)
    latency = snapshot.latency_ms()
    p50, p99 = map(words.milliseconds, latency) if latency else (UNKNOWN, UNKNOWN)
    dead = snapshot.count("dead_letters")
    return _line(
        (f" {rate:,.0f}/s" if snapshot.live else f" {UNKNOWN}", "bold"),
        f"   latency p50 {p50}, p99 {p99}   lag {snapshot.count('lag'):,}   ",
        (f"dead letters {dead:,}", "bold red" if dead else ""),
    )


def quality_title(snapshot: Snapshot) -> Panel:
    """Which windows the quality is of, and how far their labels have come."""
    rolling = snapshot.rolling
    if not rolling:
        coverage = snapshot.recent.label_coverage
        known = f", {percent(coverage)} labelled" if coverage is not None else ""
        return rule(f"Quality: no labels yet{known}")
    over = f"{_many(len(rolling), 'matured window')} to {words.moment(rolling[-1].start)}"
    return rule(f"Quality over {over}, {percent(snapshot.quality.label_coverage)} labelled")


def quality(snapshot: Snapshot) -> Panel:
    """The rolling figures, each above what it rests on, and the precision still to come."""
    measures, expected = snapshot.quality, words.estimated(snapshot.estimates.precision)
    flagged = measures.true_positives + measures.false_positives
    caught = f"{measures.true_positives:,}/"
    tiles = [
        ("precision", measures.precision, f"{caught}{_many(flagged, 'alert')}"),
        ("recall", measures.recall, f"{caught}{_many(measures.frauds, 'fraud')}"),
        ("F1", measures.f1, ""),
        ("average precision", measures.average_precision, "at any threshold"),
    ]
    sampled = (measures.label_coverage or 0.0) < _SAMPLED
    table = Table.grid(padding=(0, 3, 0, 0))
    for _ in range(len(tiles) + 1):
        table.add_column(no_wrap=True, overflow="ellipsis", min_width=5)
    names = [*(name for name, _, _ in tiles), "est. precision"]
    figures = [figure(value, sampled=sampled) for _, value, _ in tiles]
    rests_on = ["no labels" if value is None else basis for _, value, basis in tiles]
    table.add_row(*(Text(f" {name}", "dim") for name in names))
    table.add_row(
        *(Text(f" {text}", "bold cyan") for text in figures),
        Text(f" {expected[0]}", "bold magenta"),
    )
    table.add_row(*(Text(f" {text}", "dim") for text in [*rests_on, expected[1]]))
    return Panel(3, table)


def doubt(snapshot: Snapshot) -> Panel:
    """Why the estimated precision is not to be trusted; nothing where it is, or there is none."""
    expected = snapshot.estimates.precision
    if expected.trusted or not snapshot.estimates.windows:
        return Panel(0, Text())
    return _line(" ", ("est. precision not trusted: ", "yellow"), (expected.why, "dim"))


def quality_by_window(snapshot: Snapshot) -> Panel:
    """How precision, recall and average precision went, a bar for each matured window."""
    text = _text(" ", ("by window", "dim"))
    for name in ("precision", "recall", "average_precision"):
        bars = words.sparkline([getattr(s.measures, name) for s in snapshot.rolling], 16)
        text.append(f"   {name.replace('_', ' ')} ").append(bars or UNKNOWN, "cyan")
    return Panel(1, text)


def balance(snapshot: Snapshot) -> Panel:
    """The threshold and why; how rare fraud is, and what is learned of it."""
    model = snapshot.model
    if model is None:
        return Panel(2, Text(f" threshold {UNKNOWN}\n fraud prior {UNKNOWN}"))
    flagged = percent(snapshot.recent.predicted_positive_rate)
    first = _text(" threshold ", (f"{model.threshold:.3g}", "bold"), f"   {model.threshold_reason}")
    second = _text(
        " fraud prior ",
        (percent(model.fraud_prior), "bold"),
        f" ({words.one_in(model.fraud_prior)})   flagged {flagged}",
        f"   sampling rate {percent(model.sampling_rate)}",
        f"   members {words.members(model.weights)}",
    )
    table = Table.grid()
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_row(first)
    table.add_row(second)
    return Panel(2, table)


def segments(snapshot: Snapshot) -> Panel:
    """The parts of the stream of whose frauds most were missed, worst first."""
    found = [
        (s.false_negatives / frauds, f"{field} {value}", frauds)
        for field, values in snapshot.segments.items()
        for value, s in values.items()
        if (frauds := s.true_positives + s.false_negatives) >= _ENOUGH_FRAUDS
    ]
    parts = [f"{name} {share:.2f} of {frauds:,}" for share, name, frauds in sorted(found)[::-1]]
    return _line(f" frauds missed   {'   '.join(parts[:_SHOWN_SEGMENTS]) or UNKNOWN}")


def counters(snapshot: Snapshot, width: int) -> Panel:
    """What came of the labels, and what fell out of a bounded buffer."""
    count, model = snapshot.count, snapshot.model
    share = f" ({percent(model.learned_share)} fraud)" if model else ""
    parts = [
        f" labels {count('labels'):,} ({count('labels_early'):,} early, "
        f"{count('labels_unknown'):,} unknown)",
        f"learned {max((r.learned for r in snapshot.live), default=0):,}{share}",
        f"evicted {count('accounts_evicted'):,}",
    ]
    if width >= WIDE:
        parts += [
            f"pending {count('pending'):,}",
            f"expired {count('pending_expired'):,}",
            f"repeated {count('duplicates') + count('labels_repeated'):,}",
            f"corrected {count('labels_corrected'):,}",
        ]
    return _line("   ".join(parts))


def windows_title(width: int) -> Panel:
    """What the columns of sums are, which have no room to say it."""
    wide = "caught, missed and falsely flagged: amounts" if width >= WIDE else ""
    return rule(f"Windows ({wide or 'caught and missed: amounts'})")


def windows(spans: Sequence[Span], rows: int, width: int) -> Panel:
    """The newest windows first; figures only where enough of the labels have come.

    A third of the rows is for windows that still wait for labels, the rest for matured ones, so
    that a long label delay does not leave a table of unknowns.
    """
    waiting = [span for span in spans if not span.matured]
    matured = [span for span in spans if span.matured][-max(rows - len(waiting), 2 * rows // 3) :]
    chosen = [*matured, *waiting[-max(rows - len(matured), 0) or len(waiting) :]]
    wide, narrow = width >= WIDE, width < _NARROW
    table = _table(width)
    names = ["Transactions", "Labelled", "Alerts", "Precision", "Recall", *["F1"] * wide, "AP"]
    names += [*["Caught", "Missed"] * (not narrow), *["False", "Est. prec."] * wide]
    table.add_column(" Window", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True, overflow="ellipsis")
    for span in sorted(chosen, key=lambda span: span.start, reverse=True):
        m, sampled = span.measures, (span.measures.label_coverage or 0.0) < _SAMPLED
        rates = [m.precision, m.recall, *[m.f1] * wide, m.average_precision]
        sums = [*[m.amount_caught, m.amount_missed] * (not narrow), *[m.amount_false] * wide]
        table.add_row(
            f" {words.moment(span.start)}",
            f"{m.transactions:,}",
            percent(m.label_coverage),
            f"{m.alerts:,}",
            *(figure(rate if span.matured else None, sampled=sampled) for rate in rates),
            *(words.amount(value) if span.matured else UNKNOWN for value in sums),
            *[figure(m.estimated_precision)] * wide,
            style="" if span.matured else "dim",
        )
    return Panel(len(chosen) + 1, table)


def alerts(newest: Sequence[Alert], width: int) -> Panel:
    """The newest alerts, with the first two reasons of each."""
    if not newest:
        return _line((" none yet", "dim"))
    table = _table(width, show_header=False)
    account = _ACCOUNT_WIDTH if width < WIDE else None
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=8)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=account)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=account and account + 2)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for alert in newest:
        time = words.moment(alert.timestamp)
        reasons = words.reasons_in_words(alert.reasons, 2)
        table.add_row(
            f" {time if width >= WIDE else time[-5:]}",
            figure(alert.score),
            alert.type,
            words.amount(alert.amount),
            alert.nameOrig,
            f"→ {alert.nameDest}",
            Text(reasons if width >= WIDE else reasons.replace("destination", "dest."), "dim"),
        )
    return Panel(len(newest), table)


def rule(text: str) -> Panel:
    """A line with a title."""
    return Panel(1, Rule(Text(text, style="bold"), align="left", style="dim"))


def _table(width: int, *, show_header: bool = True) -> Table:
    return Table(
        box=None,
        padding=(0, 2 if width >= WIDE else 1, 0, 0),
        pad_edge=False,
        header_style="dim",
        show_header=show_header,
        expand=not show_header,
    )


def _text(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _line(*parts: str | tuple[str, str]) -> Panel:
    return Panel(1, _text(*parts))


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
