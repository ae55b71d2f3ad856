"""What was measured, in one JSON file that later runs add to."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

PACKAGES = ("river", "xgboost", "xgboost-cpu", "imbalanced-learn", "scikit-learn", "numpy")

Results = dict[str, dict[str, dict[str, Any]]]
"""Section ("table", "robustness", "drift") to stream to {"about": text, "rows": {name: figures}}"""


class Place(NamedTuple):
    """Where a row belongs: the section, the stream, and what the stream is in words."""

    section: str
    stream: str
    about: str


def read(path: Path) -> Results:
    """Return what a file holds, nothing where there is none.

    Raises `ValueError` for a file of something else.
    """
    if not path.exists():
        return {}
    try:
        found: Results = json.loads(path.read_text())
    except ValueError as problem:
        raise ValueError(
            f"{path} holds no results ({problem}); give another --json, or remove it"
        ) from None
    return found


def merged(results: Results, place: Place, row: str, figures: dict[str, Any]) -> Results:
    """Return results with one row more, in the place of an older one of that name.

    >>> place = Place("table", "card", "the card stream")
    >>> one = merged({}, place, "Weir auto", {"log_loss": 1.0})
    >>> merged(one, place, "XGBoost", {})["table"]["card"]["rows"]
    {'Weir auto': {'log_loss': 1.0}, 'XGBoost': {}}
    """
    streams = dict(results.get(place.section, {}))
    rows = dict(streams.get(place.stream, {}).get("rows", {}))
    streams[place.stream] = {"about": place.about, "rows": {**rows, row: figures}}
    return {**results, place.section: streams}


def add(path: Path | None, place: Place, row: str, figures: dict[str, Any]) -> None:
    """Add a row to a file at once, so that a long run that ends early keeps what it has.

    The file is read anew and replaced whole, so several runs can add to it one after another.
    """
    if path is None:
        return
    found = merged(read(path), place, row, figures)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(found, indent=1) + "\n")
    partial.replace(path)


def digest(features: Sequence[str]) -> str:
    """Return eight hex digits of features' names: rows that differ in it saw different features.

    >>> digest(["amount", "drains"])
    'bc3ce1ce'
    """
    return hashlib.blake2b(" ".join(features).encode(), digest_size=4).hexdigest()


def versions() -> str:
    """Return what it ran with, in one line."""
    there = []
    for package in ("weir", *PACKAGES):
        try:
            there.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join([f"Python {platform.python_version()}", *there, _processor()])


def _processor() -> str:
    """The processor as Linux names it, else what Python knows of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"one core of {models[0] if models else platform.machine()}"
