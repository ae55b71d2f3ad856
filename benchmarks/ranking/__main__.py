"""Rank the transactions of several streams by several learners, and write docs/benchmarks.md.

    python -m benchmarks.ranking --card FILE --paysim FILE --json results.json
    python -m benchmarks.ranking --card FILE --stream card --rows "Weir auto,XGBoost*" ...
    python -m benchmarks.ranking --robustness --card FILE --json results.json
    python -m benchmarks.ranking --drift --json results.json
    python -m benchmarks.ranking --render --json results.json

Every row is added to the JSON file when it is done, so that long rows can be run apart; --render
writes the page from the file. The anchors need the optional extra: pip install 'weir[benchmarks]'.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks.ranking import anchors, drift, report, results, rows, sources
from benchmarks.ranking.described import Described
from benchmarks.ranking.grades import Grades, grade, mean
from benchmarks.ranking.streams import Stream
from stream.process import set_up_process

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
GENERATED = ("shift", "pattern")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.ranking",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = made.add_mutually_exclusive_group()
    what.add_argument("--robustness", action="store_true", help="the card stream made harder")
    what.add_argument("--drift", action="store_true", help="recovery after a change")
    what.add_argument("--tune", action="store_true", help="try settings of XGBoost on a stream")
    what.add_argument("--render", action="store_true", help="only write the page from the results")
    made.add_argument("--card", type=Path, metavar="FILE", help="the card stream")
    made.add_argument("--paysim", type=Path, metavar="FILE", help="rows of the PaySim table")
    made.add_argument(
        "--stream", default="*", metavar="A,B", help="streams to run, by name or pattern"
    )
    made.add_argument("--rows", metavar="A,B", help="rows to run, by name or pattern, as 'Weir *'")
    made.add_argument("--learner", default="auto", help="of Weir's rows (default: auto)")
    made.add_argument("--transactions", type=int, metavar="N", help="read no more of each stream")
    made.add_argument("--days", type=float, metavar="N", help="read no more of the card stream")
    made.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="runs of each row that differ in the seed, of the learner and of a generated stream, "
        "for means (default: 1); for --drift, streams pooled (default: 5)",
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="results to add to and render from")
    made.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="page to write")
    return made


def main() -> int:
    """Run what the command line asks for; 1 where a row failed, 2 where it makes no sense."""
    args = parser().parse_args()
    set_up_process()  # as `weir evaluate` does
    try:
        if args.render:
            return _render(args)
        if args.drift:
            return _drift(args)
        made = _streams(args)
        return _tune(made) if args.tune else _table(args, made)
    except ValueError as problem:
        print(f"ranking: {problem}", file=sys.stderr)
        return 2


def _streams(args: argparse.Namespace) -> dict[str, Callable[[], Stream]]:
    if args.robustness:
        if args.card is None:
            raise ValueError("--robustness thins the card stream; give it with --card FILE")
        known = sources.robustness(args.card, args.transactions, args.days)
    else:
        known = sources.ranked(args.card, args.paysim, args.transactions, args.days)
    patterns = args.stream.split(",")
    made = {n: make for n, make in known.items() if any(fnmatchcase(n, p) for p in patterns)}
    if not made:
        raise ValueError(
            f"no stream is called {args.stream}; there are {', '.join(known)}. --card FILE and "
            "--paysim FILE give those of tables"
        )
    return made


def _table(args: argparse.Namespace, made: dict[str, Callable[[], Stream]]) -> int:
    """Run every chosen row over every chosen stream."""
    section = "robustness" if args.robustness else "table"
    wanted = rows.chosen(args.rows or ("Weir *,XGBoost*" if args.robustness else "*"))
    failed = 0
    for make in made.values():
        held = rows.Held(make())
        stream = held.stream
        print(f"{stream.name}: {stream.about}", flush=True)
        helds = [held, *_others(held, args)]
        for name in wanted:
            runs = [(of, _scored(name, of, args.learner, seed)) for seed, of in enumerate(helds)]
            done = [(of.stream, scored) for of, scored in runs if scored is not None]
            if len(done) < len(runs):
                failed += 1
                continue
            graded = mean([_graded(of, scored) for of, scored in done])
            figures = graded.asdict() | _origin(done[0][1], held) | {"seeds": len(done)}
            place = results.Place(section, stream.name, stream.about)
            results.add(args.json, place, name, figures)
            _say(name, figures)
    return _finish(args, failed)


def _others(held: rows.Held, args: argparse.Namespace) -> list[rows.Held]:
    """The streams of the runs with other seeds: other ones of the generator, a table as it is."""
    more = range(1, args.seeds or 1)
    if held.stream.drift_seconds is None:
        return [held for _ in more]
    kind = held.stream.name.removeprefix("generator/")
    return [rows.Held(sources.generated(kind, args.transactions, seed=7 + seed)) for seed in more]


def _graded(stream: Stream, scored: rows.Scored) -> Grades:
    counts = stream.graded
    return grade(scored.scores[counts], stream.frauds[counts], scored.microseconds)


def _drift(args: argparse.Namespace) -> int:
    """Measure recovery on generated streams that differ in their seed, pooled."""
    wanted = rows.chosen(args.rows or "Weir *,XGBoost*")
    seeds, failed = args.seeds or 5, 0
    for kind in GENERATED:
        if not any(fnmatchcase(f"generator/{kind}", p) for p in args.stream.split(",")):
            continue
        helds = [
            rows.Held(sources.generated(kind, args.transactions, seed=seed))
            for seed in range(1, seeds + 1)
        ]
        first = helds[0].stream
        about = f"{first.about}; {seeds} streams pooled"
        print(f"{first.name}: {about}", flush=True)
        for name in wanted:
            runs = [_scored(name, held, args.learner) for held in helds]
            done = [(h.stream, s.scores) for h, s in zip(helds, runs, strict=True) if s is not None]
            if len(done) < len(helds):
                failed += 1
                continue
            found = drift.recovery(done)
            last = runs[-1]
            assert last is not None  # noqa: S101 - none is, or we were not here
            place = results.Place("drift", first.name, about)
            results.add(args.json, place, name, found.asdict() | _origin(last, helds[0]))
            print(f"  {name}: {found}", flush=True)
    return _finish(args, failed)


def _tune(made: dict[str, Callable[[], Stream]]) -> int:
    """Print what settings of the anchors reach on the scored span: the best goes into `ANCHORS`."""
    for make in made.values():
        held = rows.Held(make())
        tried = [(_tried(held.described, anchor), anchor) for anchor in anchors.GRID]
        _, best = max(tried, key=lambda one: one[0])
        for share in anchors.SHARES:
            _tried(held.described, replace(best, smote_share=share))
    return 0


def _tried(described: Described, anchor: anchors.Anchor) -> float:
    stream = described.stream
    scores, microseconds = anchors.run(described, anchor)
    graded = _graded(stream, rows.Scored(scores, microseconds))
    _say(anchors.said(anchor), graded.asdict())
    return graded.average_precision or 0.0


def _scored(name: str, held: rows.Held, learner: str, seed: int = 0) -> rows.Scored | None:
    """Run a row; None, with a word why, where it cannot be: the others go on."""
    try:
        return rows.run(name, held, learner, _progress(name, len(held.stream)), seed)
    except (ValueError, ImportError, NotImplementedError) as problem:
        print(f"\r  {name} failed on {held.stream.name}: {problem}", file=sys.stderr, flush=True)
        return None


def _origin(scored: rows.Scored, held: rows.Held) -> dict[str, object]:
    """What a row was made with."""
    features = held.features
    return {
        "features": len(features),
        "features_digest": results.digest(features),
        "note": scored.note,
        "versions": results.versions(),
    }


def _progress(name: str, total: int) -> Callable[[int], None]:
    """Return what shows how far a row is, on a terminal, a few times a second at most."""
    shown = time.monotonic()

    def show(done: int) -> None:
        nonlocal shown
        if sys.stderr.isatty() and time.monotonic() > shown + 0.3:
            shown = time.monotonic()
            print(f"\r  {name}: {done / total:.0%} ", end="", file=sys.stderr, flush=True)

    return show


def _say(name: str, figures: dict[str, float | None] | dict[str, object]) -> None:
    said = [f"{t} {figures[c]:.5g}" for c, t in report.COLUMNS.items() if figures[c] is not None]
    print(f"\r  {name}: {', '.join(said)}", flush=True)


def _render(args: argparse.Namespace) -> int:
    if args.json is None:
        raise ValueError("--render writes the page from results; say which with --json FILE")
    report.write(args.page, results.read(args.json))
    print(f"wrote {args.page}")
    return 0


def _finish(args: argparse.Namespace, failed: int) -> int:
    if failed:
        print(f"{failed} rows failed; the others are done", file=sys.stderr)
    elif args.json:
        print(f"{args.json} is up to date; --render --json {args.json} writes the page")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
