"""`weir dead-letters`: what people see of letters whose content is anybody's."""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest

from stream.io.bus import Broker, BusError, Message, TopicSpec, connect
from stream.io.dead_letters import DeadLetters, Wanted, letter, replay
from stream.watch.dead_letters import MAX_KINDS, escaped, show_list, show_one

TOPIC = "dead-letters"
EVIL = "\x1b[2J\u202e\r\n[bold]"


def dead(value: bytes, reason: str, topic: str = "transactions", offset: int = 0) -> Message:
    headers = {"reason": reason, "topic": topic, "partition": "0", "offset": str(offset)}
    return Message(
        TOPIC, b"key", value, tuple((name, text.encode()) for name, text in headers.items())
    )


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    broker = connect(f"sqlite:///{tmp_path}/bus.db")
    broker.create_topics([TopicSpec(TOPIC, 1), *(TopicSpec(t, 1) for t in ORIGINS)])
    return broker


ORIGINS = ("transactions", "labels")


def publish(broker: Broker, *messages: Message) -> None:
    with closing(broker.publisher()) as publisher:
        publisher.publish(messages)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def listed(broker: Broker, out: io.StringIO, limit: int = 20, **wanted: str) -> str:
    with closing(DeadLetters(broker, TOPIC, Event())) as letters:
        show_list(letters, Wanted(**wanted), limit=limit, as_json=False, out=out)  # type: ignore[arg-type]
    return out.getvalue()


def as_json(broker: Broker, limit: int = 20, **wanted: str) -> dict[str, object]:
    out = io.StringIO()
    with closing(DeadLetters(broker, TOPIC, Event())) as letters:
        show_list(letters, Wanted(**wanted), limit=limit, as_json=True, out=out)  # type: ignore[arg-type]
    found: dict[str, object] = json.loads(out.getvalue())
    return found


def test_the_newest_come_first_and_reasons_that_differ_by_a_number_count_together(
    broker: Broker,
) -> None:
    publish(broker, *(dead(b"x" * n, f"too large: {n} bytes", offset=n) for n in range(1, 6)))
    publish(broker, dead(b"{", "not JSON", topic="labels"))
    lines = listed(broker, io.StringIO(), limit=2).splitlines()
    assert lines[0].split() == ["position", "published", "(UTC)", "bytes", "from", "reason"]
    assert lines[1].endswith("1  labels[0]@0        not JSON")
    assert lines[2].endswith("5  transactions[0]@5  too large: 5 bytes")
    assert lines[4].split() == ["5", "too", "large:", "#", "bytes"]
    assert lines[-1].strip() == "6 dead letters in topic dead-letters"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [({"reason": "TOO LARGE: # b"}, 5), ({"reason": "3 bytes"}, 1), ({"topic": "labels"}, 1)],
)
def test_letters_are_chosen_by_reason_and_by_topic(
    broker: Broker, wanted: dict[str, str], found: int
) -> None:
    publish(broker, *(dead(b"x" * n, f"too large: {n} bytes") for n in range(1, 6)))
    publish(broker, dead(b"{", "not JSON", topic="labels"))
    shown = as_json(broker, **wanted)
    assert (shown["total"], shown["found"]) == (6, found)


def test_what_is_held_does_not_grow_with_what_the_topic_holds(broker: Broker) -> None:
    some = [dead(b"x", "no " + "abcdefghij"[n % 10] * (n // 10 + 1)) for n in range(1_500)]
    publish(broker, *some)
    shown = as_json(broker, limit=3)
    assert isinstance(shown["letters"], list)
    assert [one["position"] for one in shown["letters"]] == [1_499, 1_498, 1_497]
    assert isinstance(shown["reasons"], dict)
    assert len(shown["reasons"]) == MAX_KINDS + 1
    assert sum(shown["reasons"].values()) == 1_500
    assert shown["reasons"]["other reasons"] == 1_500 - MAX_KINDS


def test_an_empty_topic_is_no_error(broker: Broker) -> None:
    assert listed(broker, io.StringIO()).strip() == "0 dead letters in topic dead-letters"


@pytest.mark.parametrize("out", [Terminal(), io.StringIO()], ids=["terminal", "lines"])
def test_nothing_of_a_message_reaches_a_terminal_but_what_prints(
    broker: Broker, out: io.StringIO
) -> None:
    publish(broker, dead(EVIL.encode() + b"\xff\x00", EVIL, topic=EVIL))
    listed(broker, out)
    with closing(DeadLetters(broker, TOPIC, Event())) as letters:
        record = letters.at(0)
    assert record is not None
    one = io.StringIO()
    show_one(record, one)
    for shown in (out.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", ""), one.getvalue()):
        assert all(c.isprintable() or c == "\n" for c in shown)
    assert "[bold]" in out.getvalue()
    assert "\\x1b[2J\\u202e\\r\\n[bold]\\xff\\x00" in one.getvalue()


def test_a_long_letter_is_cut_on_the_terminal_and_says_so(broker: Broker) -> None:
    publish(broker, dead(b"x" * 20_000, "too large"))
    with closing(DeadLetters(broker, TOPIC, Event())) as letters:
        record = letters.at(0)
    assert record is not None
    out = io.StringIO()
    show_one(record, out)
    assert "(3616 more bytes: --raw writes them all)" in out.getvalue()


def test_escaping_loses_nothing() -> None:
    value = bytes(range(256)) + "tür €\u202e\\".encode()
    shown = escaped(value)
    assert shown.isprintable()
    assert "tür €" in shown
    # As Python reads it: \xNN below 128 and above is a byte, \uNNNN a character.
    back = escaped(value[:128]).encode().decode("unicode_escape").encode()
    assert back == value[:128]


def test_a_record_that_is_no_letter_of_ours_is_shown_and_never_replayed(broker: Broker) -> None:
    odd = Message(TOPIC, None, b"hello", (("partition", b"one"), ("offset", b"-1"), ("x", b"\xff")))
    ours = dead(b"{", "not JSON", topic="alerts")
    bad_note = Message(TOPIC, None, b"[[[", (("note", b"replayed"),))
    broad_note = Message(TOPIC, None, b'{"replayed": [[5, 1], [7, 999999]]}', bad_note.headers)
    publish(broker, odd, ours, bad_note, broad_note)
    with closing(DeadLetters(broker, TOPIC, Event())) as letters:
        record = letters.at(0)
    assert record is not None
    found = letter(record)
    assert (found.topic, found.partition, found.offset) == (None, None, None)
    assert "unknown" in listed(broker, io.StringIO())
    tally = replay(
        broker, TOPIC, ORIGINS, Wanted(), group="g", dry_run=False, stop=Event()
    )  # fmt: skip
    assert (tally.replayed, tally.astray, tally.before) == ({}, 2, 0)


def test_a_topic_with_more_than_one_partition_is_refused(tmp_path: Path) -> None:
    broker = connect(f"sqlite:///{tmp_path}/bus.db")
    broker.create_topics([TopicSpec(TOPIC, 2)])
    with pytest.raises(BusError, match="2 partitions"):
        DeadLetters(broker, TOPIC, Event())
    with pytest.raises(BusError, match="weir topics create"):
        DeadLetters(broker, "nowhere", Event())
