"""The environment of a group of workers with topics of its own, and those topics."""

from __future__ import annotations

from collections.abc import Mapping

from stream.__main__ import topic_specs
from stream.io.bus import TopicSpec, connect
from stream.settings import Settings

_INPUTS = ("transactions", "labels")
_WRITTEN = ("alerts", "training", "fits", "dead_letters", "decisions", "state")


def environment(
    bus: str, redis: str, group: str, *, inputs: str | None = None, partitions: int = 1
) -> dict[str, str]:
    """Return the environment of a group, whose name begins those of its topics.

    `inputs` begins the names of the topics that it reads, where they are not its own.
    """
    return {
        "WEIR_BUS": bus,
        "WEIR_REDIS": redis,
        "WEIR_GROUP": group,
        "WEIR_REDIS_PREFIX": group,
        "WEIR_PARTITIONS": str(partitions),
        **{f"WEIR_{name.upper()}_TOPIC": f"{inputs or group}-{name}" for name in _INPUTS},
        **{f"WEIR_{name.upper()}_TOPIC": f"{group}-{name}" for name in _WRITTEN},
    }


def with_topics(of: Mapping[str, str], *more: TopicSpec) -> Settings:
    """Return the settings that an environment makes; their topics, and more, are there then."""
    chosen = {k.removeprefix("WEIR_").lower(): v for k, v in of.items()}
    settings = Settings(**chosen)  # type: ignore[arg-type]
    connect(settings.bus).create_topics([*topic_specs(settings), *more])
    return settings
