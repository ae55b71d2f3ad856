"""Dead letters for people: a table with what they have in common, one letter, what a replay did.

Whatever a message holds, nothing of it reaches the terminal but characters that print.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream.events import utc
from stream.io.bus import BusError, Record
from stream.io.dead_letters import DeadLetters, Letter, Marks, Tally, Wanted, is_note, letter
from stream.watch.output import emit

MAX_KINDS = 1_000
"""Reasons counted apart; what comes beyond is counted as one."""
SHOWN_BYTES = 16_384
"""Of one letter on the terminal."""

_OTHERS = "other reasons"
_COLUMNS = ("position", "published (UTC)", "bytes", "from", "reason")


def show_list(
    letters: DeadLetters, wanted: Wanted, *, limit: int, as_json: bool, out: TextIO
) -> None:
    """Print the newest letters, newest first, and how many there are for each reason.

    Reads the topic once, and holds `limit` letters without their bytes, `MAX_KINDS` reasons and a
    byte for each position.
    """
    newest: deque[Letter] = deque(maxlen=limit)
    kinds: Counter[str] = Counter()
    marks, total, found = Marks(letters.first, letters.end), 0, 0
    for batch in letters.records(letters.first, letters.end):
        for record in batch:
            if is_note(record):
                marks.add(record)
                continue
            total += 1
            one = letter(record)
            if one in wanted:
                found += 1
                newest.append(one)
                kinds[one.kind if one.kind in kinds or len(kinds) < MAX_KINDS else _OTHERS] += 1
    if as_json:
        shown = {
            "whole": not letters.stop.is_set(),
            "total": total,
            "found": found,
            "reasons": dict(kinds.most_common()),
            "letters": [
                one._asdict() | {"replayed": one.position in marks} for one in reversed(newest)
            ],
        }
        emit(json.dumps(shown), out)
        return
    if newest:
        rows = [_row(one, one.position in marks) for one in reversed(newest)]
        if out.isatty():
            _table(rows, out)
        elif not all(emit(line, out) for line in _lines(rows)):
            return
        emit("", out)
    for kind, count in kinds.most_common():
        if not emit(f"{count:>9,}  {printable(kind)}", out):
            return
    of_all = "" if found == total else f" of {total:,}"
    emit(f"{found:>9,}{of_all} dead letters in topic {letters.source.topic}", out)
    if letters.stop.is_set():
        emit("stopped before the end of the topic", out)


def show_one(record: Record, out: TextIO) -> None:
    """Print a letter: its place, headers, key and bytes; or say that it is a note."""
    value = record.value or b""
    published = utc(record.timestamp_ms / 1000).strftime("%Y-%m-%d %H:%M:%S")
    lines = [f"position       {record.offset}", f"published      {published} UTC"]
    if is_note(record):
        lines[0] += ", the note of a replay and no letter"
    lines += [f"{printable(name):<14} {escaped(text)}" for name, text in record.headers]
    lines += [
        f"key            {'none' if record.key is None else escaped(record.key)}",
        f"bytes          {len(value)}",
        "",
        escaped(value[:SHOWN_BYTES]),
    ]
    if len(value) > SHOWN_BYTES:
        lines += ["", f"({len(value) - SHOWN_BYTES} more bytes: --raw writes them all)"]
    emit("\n".join(lines), out)


def show_tally(tally: Tally, *, dry_run: bool, out: TextIO) -> None:
    """Say what a replay did."""
    count = sum(tally.replayed.values())
    by_topic = ", ".join(f"{n:,} to {topic}" for topic, n in sorted(tally.replayed.items()))
    where = f": {by_topic} (positions {tally.first} to {tally.last})" if count else ""
    emit(f"{count:,} dead letters {'would be ' if dry_run else ''}replayed{where}", out)
    if tally.before:
        emit(f"{tally.before:,} were replayed before and are left alone", out)
    if tally.astray:
        emit(f"{tally.astray:,} name no topic of transactions or labels and are left alone", out)
    if tally.stopped_at is not None:
        emit(f"stopped before position {tally.stopped_at}; the same command goes on there", out)
    if count and not dry_run:
        emit(
            "What still cannot be read becomes a new dead letter, with the position of the old one "
            "in its header replayed_from.",
            out,
        )


def printable(text: str) -> str:
    r"""Return text with everything that does not print escaped, and the backslash itself.

    >>> printable("tür\x1b[2J\u202e\\")
    't\xfcr\\x1b[2J\\u202e\\\\'
    """
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text
    )


def escaped(value: bytes) -> str:
    r"""Return bytes as text that prints; those that are no UTF-8 as `\x` and two digits.

    >>> escaped(b'{"a": "\xc3\xbc"}\n\xff\\')
    '{"a": "\xfc"}\\n\\xff\\\\'
    """
    return "".join(_pieces(value))


def _pieces(value: bytes) -> Iterator[str]:
    while value:
        try:
            yield printable(value.decode())
            return
        except UnicodeDecodeError as error:
            yield printable(value[: error.start].decode())
            yield "".join(f"\\x{byte:02x}" for byte in value[error.start : error.end])
            value = value[error.end :]


def _row(one: Letter, replayed: bool) -> tuple[str, ...]:
    origin = "unknown" if one.topic is None else f"{one.topic}[{one.partition}]@{one.offset}"
    reason = f"(replayed) {one.reason}" if replayed else one.reason
    return (
        str(one.position),
        utc(one.published_ms / 1000).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        f"{one.size:,}",
        printable(origin),
        printable(reason),
    )


def _lines(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        position, published, size, origin, reason = row
        yield (
            f"{position:>{widths[0]}}  {published:<{widths[1]}}  {size:>{widths[2]}}  "
            f"{origin:<{widths[3]}}  {reason}"
        )


def _table(rows: list[tuple[str, ...]], out: TextIO) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in ("position", "bytes") else "left")
    for row in rows:
        table.add_row(*map(Text, row))  # as text: a reason is no markup
    Console(file=out, highlight=False).print(table)


def missing(letters: DeadLetters, position: int) -> BusError:
    """Return the error for a position where no letter is."""
    held = (
        f"it holds {letters.first} to {letters.end - 1}"
        if letters.end > letters.first
        else "it is empty"
    )
    return BusError(
        f"There is no dead letter at position {position} of topic {letters.source.topic}: {held}. "
        "`weir dead-letters list` shows the newest."
    )
