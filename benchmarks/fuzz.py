"""Mutated real messages through decode and the join of a detector: nothing raises, nothing hangs.

    python benchmarks/fuzz.py FILE --columns paysim --messages 1000000

Every row of the table becomes a transaction and a label as the producers publish them; after the
last row it begins again, with new ids. Each message is mutated, one in five twice: bytes flipped,
cut, doubled; fields dropped, doubled, of another type, beyond any bound; text that is no UTF-8,
deep nesting, other encodings. Labels come a thousand messages after their transaction, some before
it, and messages come again as they were before they were mutated, so that labels contradict.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from producers.replay import COLUMNS, read_table
from producers.rows import Row
from stream.core import decode
from stream.core.decode import Reject
from stream.core.detector import Detector
from stream.core.model import Model
from stream.events import Label, Transaction, utc
from stream.settings import Settings

BATCH = 500
LATE = 1_000
"""Messages between a transaction and its label."""
BOUNDS = {"max_pending": 20_000, "max_accounts": 20_000, "max_windows": 200}
"""Low, so that a run is long enough to fill them many times over."""

_ODD: tuple[Any, ...] = (
    *(None, True, "", "0", "1e400", "\x00", "\ud800", "𝕎" * 40, "x" * 5_000, [], {}, [[]], -1, 0),
    *(1.5, -0.0, 1e12, 1e13, 1e308, 5e-324, 10**18, 10**400, float("nan"), float("inf")),
    *(
        "9999-12-31T23:59:59Z",
        "1969-12-31T23:59:59Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T00:00:00",
    ),
)

Mutation = Callable[[bytes, Random], bytes]


def _object(value: bytes) -> dict[str, Any]:
    """The object in a message; where an earlier mutation has left none, an empty one."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _dumped(found: object) -> bytes:
    return json.dumps(found).encode()


def _bit(value: bytes, draw: Random) -> bytes:
    at = draw.randrange(max(len(value), 1))
    return (
        value[:at] + bytes([value[at] ^ 1 << draw.randrange(8)]) + value[at + 1 :] if value else b""
    )


def _bytes(value: bytes, draw: Random) -> bytes:
    at = draw.randrange(len(value) + 1)
    return value[:at] + draw.randbytes(draw.randrange(1, 9)) + value[at + draw.randrange(9) :]


def _cut(value: bytes, draw: Random) -> bytes:
    return value[: draw.randrange(len(value) + 1)]


def _left_out(value: bytes, draw: Random) -> bytes:
    at = draw.randrange(len(value) + 1)
    return value[:at] + value[at + draw.randrange(1, 20) :]


def _twice(value: bytes, draw: Random) -> bytes:
    at = draw.randrange(len(value) + 1)
    return value[:at] + value[at : at + draw.randrange(1, 60)] * 2 + value[at:]


def _noise(_: bytes, draw: Random) -> bytes:
    return draw.randbytes(draw.randrange(300))


def _dropped(value: bytes, draw: Random) -> bytes:
    found = _object(value)
    found.pop(draw.choice([*found, ""]), None)
    return _dumped(found)


def _odd(value: bytes, draw: Random) -> bytes:
    found = _object(value)
    return _dumped(found | {draw.choice([*found, "version"]): draw.choice(_ODD)})


def _again(value: bytes, draw: Random) -> bytes:
    """A key that is there already, with another value behind it."""
    found = _object(value)
    more = _dumped({draw.choice([*found, "version"]): draw.choice([*found.values(), *_ODD])})
    return value.rstrip()[:-1] + b", " + more[1:]


def _extra(value: bytes, draw: Random) -> bytes:
    return _dumped(
        {f"x{n}": draw.choice(_ODD) for n in range(draw.randrange(200))} | _object(value)
    )


def _deep(value: bytes, draw: Random) -> bytes:
    depth, name = draw.choice([10, 100, 200, 5_000]), draw.choice([*_object(value), "x"])
    opening, closing = draw.choice([(b"[", b"]"), (b'{"a":', b"}")])
    nested = opening * depth + b"1" + closing * draw.choice([depth, depth - 1])
    return value.rstrip()[:-1] + b", " + json.dumps(name).encode() + b": " + nested + b"}"


def _digits(value: bytes, draw: Random) -> bytes:
    """A number of many digits in place of one of few."""
    digits = b"9" * draw.choice([17, 20, 400, 20_000])
    return re.sub(
        rb"(?<=: |.:)[0-9.]+(?=[,}])", lambda _: digits, value, count=draw.randrange(1, 4)
    )


def _surrogate(value: bytes, draw: Random) -> bytes:
    wrong = draw.choice(
        [rb"\ud800", rb"\udc00\ud800", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"]
    )
    return value.replace(b'":"', b'":"' + wrong, draw.randrange(1, 4))


def _encoded(value: bytes, draw: Random) -> bytes:
    text = value.decode(errors="replace")
    return text.encode(draw.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7"]))


def _renamed(value: bytes, draw: Random) -> bytes:
    return _dumped({draw.choice([k.upper(), k + " ", k]): v for k, v in _object(value).items()})


def _spaced(value: bytes, draw: Random) -> bytes:
    return b" \n\t" * draw.randrange(2_000) + value + b"\r\n" * draw.randrange(2_000)


def _shuffled(value: bytes, draw: Random) -> bytes:
    items = list(_object(value).items())
    draw.shuffle(items)
    return _dumped(dict(items))


def _other_way(value: bytes, _: Random) -> bytes:
    """What is true is false, and amounts are others: still a message that can be read."""
    return _dumped(
        {
            k: not v if isinstance(v, bool) else v * 1.7 if isinstance(v, float) else v
            for k, v in _object(value).items()
        }
    )


def _plain(value: bytes, _: Random) -> bytes:
    return value


MUTATIONS: dict[str, Mutation] = {
    function.__name__.strip("_"): function
    for function in (
        *(_bit, _bytes, _cut, _left_out, _twice, _noise, _dropped, _odd, _again, _extra, _deep),
        *(_digits, _surrogate, _encoded, _renamed, _spaced, _shuffled, _other_way, _plain),
    )
}


def mutated(value: bytes, draw: Random) -> tuple[str, bytes]:
    """Return a message mutated once, or one in five times twice, and how."""
    names = draw.choices(list(MUTATIONS), k=1 if draw.random() < 0.8 else 2)
    for name in names:
        value = MUTATIONS[name](value, draw)
    return "+".join(names), value


class Sent(NamedTuple):
    """A message, of which kind it was before it was mutated, and how it was."""

    kind: type[Transaction] | type[Label]
    mutation: str
    value: bytes


def messages(rows: Iterable[Row], seed: int) -> Iterator[Sent]:
    """Return the messages of rows, mutated, in the order in which they are sent."""
    draw = Random(seed)
    late: deque[bytes] = deque()
    recent: dict[type, deque[bytes]] = {Transaction: deque(maxlen=LATE), Label: deque(maxlen=LATE)}

    def sent(kind: type[Transaction] | type[Label], value: bytes) -> Iterator[Sent]:
        recent[kind].append(value)
        yield Sent(kind, *mutated(value, draw))
        if draw.random() < 0.05:
            yield Sent(kind, "again as it was", draw.choice(recent[kind]))

    for row in rows:
        transaction = row.transaction.model_dump_json(exclude_none=True).encode()
        label = Label(
            transaction_id=row.transaction.transaction_id,
            is_fraud=bool(row.is_fraud),
            labelled_at=utc(row.time_seconds),
            source="chargeback",
        )
        told = label.model_dump_json().encode()
        if draw.random() < 0.02:
            yield from sent(Label, told)
        else:
            late.append(told)
        yield from sent(Transaction, transaction)
        if len(late) > LATE:
            yield from sent(Label, late.popleft())


@dataclass(slots=True)
class Found:
    """What came of the messages."""

    messages: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """By reason, with # for each number."""
    slowest_message_ms: float = 0.0
    """CPU time of the longest decode of one message, and what it had become by mutation."""
    slowest_mutation: str = ""
    slowest_batch_ms: float = 0.0
    """CPU time of the longest time in the handlers of one batch, learning included."""
    cpu_seconds: float = 0.0
    peak_mb_before: float = 0.0
    """Peak resident memory before the first message, after each tenth of them, and how many times
    what it was it is at the end."""
    peak_mb_by_tenth: list[float] = field(default_factory=list)
    peak_ratio: float = 0.0


READERS: dict[type, Any] = {Transaction: decode.transactions(), Label: decode.label}


def peak_mb() -> float:
    """The largest resident memory that this process has had, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def fuzzed(settings: Settings, sent: Iterable[Sent], count: int, *, quiet: bool = True) -> Found:
    """Put `count` messages through decode, and what can be read through a detector."""
    detector = Detector(settings, Model(settings))
    pending = detector.open(0).pending
    found = Found(peak_mb_before=peak_mb())
    begun, sent = time.process_time(), itertools.islice(sent, count)
    while batch := list(itertools.islice(sent, BATCH)):
        read: dict[type, list[Any]] = {Transaction: [], Label: []}
        for kind, mutation, value in batch:
            before = time.thread_time()
            event = READERS[kind](value, settings.max_record_bytes)
            spent_ms = (time.thread_time() - before) * 1e3
            if spent_ms > found.slowest_message_ms:
                found.slowest_message_ms, found.slowest_mutation = spent_ms, mutation
            if isinstance(event, Reject):
                found.refused[re.sub(r"\d+", "#", event.reason)] += 1
            else:
                read[kind].append(event)
        before = time.process_time()
        decided = len(detector.on_transactions(0, read[Transaction]).transactions)
        joined, examples = detector.on_labels(0, read[Label])
        detector.on_examples(examples, detector.model.position + len(examples))
        found.slowest_batch_ms = max(found.slowest_batch_ms, (time.process_time() - before) * 1e3)
        found.messages += len(batch)
        found.outcomes += Counter(
            {
                "refused": len(batch) - sum(map(len, read.values())),
                "transactions decided": decided,
                "transactions known already": len(read[Transaction]) - decided,
                "labels read": len(read[Label]),
                "labels joined": len(joined.labels),
                "examples": len(examples),
            }
        )
        if found.messages * 10 >= count * (len(found.peak_mb_by_tenth) + 1):
            found.peak_mb_by_tenth.append(peak_mb())
        if not quiet:
            print(f"\r{found.messages:>10,} of {count:,}", end="", file=sys.stderr, flush=True)
    found.outcomes |= Counter(
        {"labels waiting": pending.early, "labels that fell out": pending.unknown}
    )
    found.cpu_seconds = time.process_time() - begun
    found.peak_ratio = peak_mb() / found.peak_mb_before
    return found


def endless(file: Path, columns: str, settings: Settings) -> Iterator[Row]:
    """Return the rows of a table again and again, with ids of their own each time."""
    for turn in itertools.count():
        for chunk in read_table(file, COLUMNS[columns], step_origin=settings.step_origin):
            for row in chunk:
                id_ = f"{row.transaction.transaction_id}-{turn}"
                new = row.transaction.model_copy(update={"transaction_id": id_})
                yield row._replace(transaction=new)


def main() -> None:
    """Print what came of the messages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--columns", choices=tuple(COLUMNS), default="paysim")
    parser.add_argument("--messages", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--learner", default="auto")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    settings = Settings(learner=args.learner, **BOUNDS)
    sent = messages(endless(args.file, args.columns, settings), args.seed)
    found = fuzzed(settings, sent, args.messages, quiet=not sys.stderr.isatty())
    print(f"\n{found.messages:,} messages, {found.cpu_seconds:.0f} s of CPU time, none raised")
    for outcome, count in found.outcomes.items():
        print(f"{count:>10,}  {outcome}")
    print(f"\nrefused, by reason ({len(found.refused):,} of them)")
    for reason, count in found.refused.most_common(12):
        print(f"{count:>10,}  {reason}")
    print(
        f"\nslowest message {found.slowest_message_ms:.1f} ms ({found.slowest_mutation}), "
        f"slowest batch of {BATCH} {found.slowest_batch_ms:,.0f} ms\n"
        f"peak resident memory {found.peak_mb_before:.0f} MB before, "
        f"{found.peak_ratio:.2f} times that at the end; after each tenth "
        f"{', '.join(f'{mb:.0f}' for mb in found.peak_mb_by_tenth)} MB"
    )
    if args.json:
        args.json.write_text(
            json.dumps({name: getattr(found, name) for name in found.__slots__}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
