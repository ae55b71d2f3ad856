"""`weir dead-letters`: what could not be read, to look at and to put back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing
from threading import Event

from stream.io.bus import connect
from stream.io.dead_letters import DeadLetters, Wanted, replay
from stream.io.security import kafka_security
from stream.settings import Settings

SETTINGS = (
    "bus", "group", "transactions_topic", "labels_topic", "dead_letters_topic",
    "log_format", "log_level",
)  # fmt: skip

_ABOUT = {
    "list": "the newest dead letters, and how many there are for each reason",
    "show": "one dead letter: headers, key and bytes",
    "replay": "put dead letters back on the topic they came from, each once",
}
_REPLAY = """\
Puts the very bytes back, with the same key into the same partition, and a header replayed_from
with the position of the dead letter. Letters and a note of their positions are committed as one:
whatever is run again, killed, or chosen by other flags, no letter goes out twice. A transaction
that was decided meanwhile is recognised by its id and not decided again. What still cannot be read
becomes a new dead letter. Mend the cause first, and look with --dry-run.
"""


def add_actions(parser: argparse.ArgumentParser, epilog: str) -> Iterator[argparse.ArgumentParser]:
    """Give the parser the actions, and return the parser of each for the flags of the settings."""
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    for name, about in _ABOUT.items():
        sub = actions.add_parser(
            name,
            help=about,
            description=_REPLAY if name == "replay" else about,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == "show":
            sub.add_argument("position", type=_position, metavar="POSITION", help="as list has it")
            sub.add_argument(
                "--raw", action="store_true", help="the very bytes of the message, and nothing else"
            )
        else:
            sub.add_argument(
                "--reason", metavar="TEXT", help="only those whose reason has this text in it"
            )
            sub.add_argument("--topic", metavar="NAME", help="only those that came from this topic")
        if name == "list":
            sub.add_argument(
                "--limit",
                type=_position,
                default=20,
                metavar="N",
                help="so many letters, the newest (default: %(default)s)",
            )
            sub.add_argument("--json", action="store_true", help="all of it as one JSON object")
        if name == "replay":
            sub.add_argument(
                "--from", dest="first", type=_position, default=0, metavar="POSITION",
                help="from this one on (default: the oldest)",
            )  # fmt: skip
            sub.add_argument(
                "--to", dest="last", type=_position, metavar="POSITION",
                help="up to this one, itself included (default: the newest)",
            )  # fmt: skip
            sub.add_argument(
                "--dry-run", action="store_true", help="say what would be done, and write nothing"
            )
        yield sub


def run(settings: Settings, args: argparse.Namespace, stop: Event) -> None:
    """List, show or replay; ends early when `stop` is set. Raises `BusError`."""
    # Only here: the view takes longer to load than everything else does together.
    from stream.watch import dead_letters as view  # noqa: PLC0415

    broker, topic = connect(settings.bus, kafka_security(settings)), settings.dead_letters_topic
    if args.action == "replay":
        tally = replay(
            broker,
            topic,
            (settings.transactions_topic, settings.labels_topic),
            Wanted(args.first, args.last, args.reason, args.topic),
            group=f"{settings.group}-dead-letters",
            dry_run=args.dry_run,
            stop=stop,
        )
        view.show_tally(tally, dry_run=args.dry_run, out=sys.stdout)
        return
    with closing(DeadLetters(broker, topic, stop)) as letters:
        if args.action == "list":
            wanted = Wanted(reason=args.reason, topic=args.topic)
            view.show_list(letters, wanted, limit=args.limit, as_json=args.json, out=sys.stdout)
            return
        record = letters.at(args.position)
        if record is None:
            raise view.missing(letters, args.position)
    if args.raw:
        sys.stdout.buffer.write(record.value or b"")
        sys.stdout.buffer.flush()
    else:
        view.show_one(record, sys.stdout)


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 0 or more")
    return int(text)
