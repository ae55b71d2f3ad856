"""A snapshot of the model on the local disk, atomically: for a quick start."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xgboost

from stream.core.model import Model
from stream.io.state import differing
from stream.settings import Settings

log = logging.getLogger(__name__)

_SHAPING_SETTINGS = (
    "bus",
    "group",
    "step_origin",
    "transaction_types",
    "half_lives_hours",
    "features",
    "seed",
    "learner",
    "rebalance",
    "target_share",
    "prior_half_life",
    "threshold",
    "review_rate",
    "training_topic",
)
_LAYOUT = "8"
"""Raised whenever what a snapshot holds changes within a version."""


class Checkpoint:
    """Keeps the model in one file of a directory.

    The file is written beside its place, flushed to the disk and renamed, so that there is always a
    whole one. It carries the versions and settings it was made with; one that does not fit is left
    alone, and the model is rebuilt from the training log. It is pickled, and read back from this
    directory only: give it to nobody else to write.

    Parameters
    ----------
    directory
        Made if it is not there.
    settings
        Those that shape the model are part of a snapshot's identity.
    """

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.path = directory / "model.snapshot"
        directory.mkdir(parents=True, exist_ok=True)
        self._identity = identity(settings)

    def save(self, model: Model) -> None:
        """Write the model with its position in the training log. Raises `OSError`."""
        header = json.dumps(self._identity | {"position": model.position}).encode()
        partial = self.path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(header + b"\n" + pickle.dumps(model))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
        descriptor = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the rename itself
        finally:
            os.close(descriptor)

    def header(self) -> dict[str, Any] | None:
        """Return what the file was made with; None where there is none. Raises `ValueError`."""
        try:
            with self.path.open("rb") as file:
                found: dict[str, Any] = json.loads(file.readline(65_536))
        except FileNotFoundError:
            return None
        return found

    def differing(self, header: Mapping[str, Any]) -> list[str]:
        """Return what of its versions and settings is not as it is here."""
        return differing(header, self._identity)

    def load(self) -> Model | None:
        """Return the model saved; None where there is none that fits."""
        try:
            header = self.header()
            if header is None:
                return None
            if other := self.differing(header):
                log.warning(
                    "%s was made with another %s: not used; the model is rebuilt from the "
                    "training log",
                    self.path,
                    " and ".join(other),
                )
                return None
            _, _, body = self.path.read_bytes().partition(b"\n")
            model: Model = pickle.loads(body)  # noqa: S301 - our own file, never of the network
        except Exception:
            log.warning("%s cannot be read and is left alone: rebuilding from the log", self.path)
            return None
        return model


def identity(settings: Settings) -> dict[str, str]:
    """Return what a snapshot must have been made with to be used again."""
    shaping = settings.model_dump_json(include=set(_SHAPING_SETTINGS))
    versions = {name: version(name) for name in ("weir", "river", "numpy")}
    versions["layout"] = _LAYOUT
    versions["xgboost"] = xgboost.__version__  # whichever of its two packages it is
    return versions | {"settings": hashlib.sha256(shaping.encode()).hexdigest()[:16]}
