"""Snapshots on the local disk: account state with its positions, and the model, atomically."""

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

import numpy as np
import xgboost
from numpy.typing import NDArray

from stream.core.detector import Detector, Shard
from stream.io.bus import TopicPartition
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
    "window_seconds",
    "transactions_topic",
    "labels_topic",
    "training_topic",
)
_PARTS = ("features", "pending", "windows")
_LAYOUT = "2"
"""Raised whenever what a snapshot holds changes within a version."""


class Checkpoint:
    """Keeps one file per partition and one for the model in a directory.

    A file is written beside its place, flushed to the disk and renamed, so that there is always a
    whole one. It carries the versions and settings it was made with; one that does not fit is left
    alone and the state is rebuilt from the topics. Account state is plain arrays; the model is
    pickled, and read back from this directory only: give it to nobody else to write.

    Parameters
    ----------
    directory
        Made if it is not there.
    settings
        Those that shape the state are part of a snapshot's identity.
    """

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._settings = settings
        self._identity = identity(settings)

    def save_model(self, detector: Detector) -> None:
        """Write the model with its position in the training log, and the alert budget."""
        header = json.dumps(self._identity | {"position": detector.model.position}).encode()
        body = pickle.dumps((detector.model, detector.budget))
        self._write("model.snapshot", header + b"\n" + body)

    def load_model(self) -> Detector | None:
        """Return a detector of the model and budget saved; None where there is none that fits."""
        path = self.directory / "model.snapshot"
        try:
            header, _, body = path.read_bytes().partition(b"\n")
            if not self._fits(path, json.loads(header)):
                return None
            model, budget = pickle.loads(body)  # noqa: S301 - our own file, never of the network
        except FileNotFoundError:
            return None
        except Exception:
            log.warning("%s cannot be read and is left alone: rebuilding from the log", path)
            return None
        return Detector(self._settings, model, budget)

    def save_shard(
        self, partition: int, shard: Shard, positions: Mapping[TopicPartition, int]
    ) -> None:
        """Write the account state of a partition as it is at these positions."""
        arrays: dict[str, NDArray[np.generic]] = {}
        for part in _PARTS:
            for name, array in getattr(shard, part).snapshot().items():
                arrays[f"{part}/{name}"] = array
        header = self._identity | {
            "positions": [[*source, position] for source, position in positions.items()],
            "duplicates": shard.duplicates,
        }
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        path = self.directory / f"accounts-{partition}.npz"
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type] # numpy's stub takes names for flags
            file.flush()
            os.fsync(file.fileno())
        self._rename(partial, path)

    def load_shard(self, partition: int, shard: Shard) -> dict[TopicPartition, int] | None:
        """Restore account state and return its positions; None where there is none that fits."""
        path = self.directory / f"accounts-{partition}.npz"
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                header = json.loads(arrays["header"].tobytes())
                if not self._fits(path, header):
                    return None
                for part in _PARTS:
                    prefix = f"{part}/"
                    names = [name for name in arrays.files if name.startswith(prefix)]
                    getattr(shard, part).restore(
                        {name.removeprefix(prefix): arrays[name] for name in names}
                    )
        except FileNotFoundError:
            return None
        except Exception:
            log.warning("%s cannot be read and is left alone: rebuilding from the topics", path)
            return None
        shard.duplicates = header["duplicates"]
        return {TopicPartition(t, p): position for t, p, position in header["positions"]}

    def _fits(self, path: Path, header: Mapping[str, Any]) -> bool:
        differing = [key for key, value in self._identity.items() if header.get(key) != value]
        if differing:
            log.warning("%s was made with another %s: not used", path, " and ".join(differing))
        return not differing

    def _write(self, name: str, content: bytes) -> None:
        path = self.directory / name
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._rename(partial, path)

    @staticmethod
    def _rename(partial: Path, path: Path) -> None:
        partial.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the rename itself
        finally:
            os.close(descriptor)


def identity(settings: Settings) -> dict[str, str]:
    """Return what a snapshot must have been made with to be used again."""
    shaping = settings.model_dump_json(include=set(_SHAPING_SETTINGS))
    versions = {name: version(name) for name in ("weir", "river", "numpy")}
    versions["layout"] = _LAYOUT
    versions["xgboost"] = xgboost.__version__  # whichever of its two packages it is
    return versions | {"settings": hashlib.sha256(shaping.encode()).hexdigest()[:16]}
