"""The documentation names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stream.core.alarms import KINDS
from stream.settings import Settings
from stream.watch.metrics import (
    MATURED,
    OF_PARTS,
    OF_RECENT,
    OF_STREAM,
    OF_WORKER,
    RECENT,
    REDIS_UP,
    REDIS_UP_HELP,
)

ROOT = Path(__file__).parents[2]


def settings_table() -> str:
    """The table of settings as docs/reference.md must have it."""
    lines = ["| setting | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        cell = "" if default is None else f"`{shown}`"
        lines.append(f"| `{name}` | {cell} | {field.description} |")
    return "\n".join(lines)


def test_the_reference_lists_every_setting_as_it_is() -> None:
    assert settings_table() in (ROOT / "docs" / "reference.md").read_text()


def metrics_table() -> str:
    """The table of metrics as docs/reference.md must have it."""
    lines = ["| metric | labels | what it is |", "|---|---|---|"]
    lines += [f"| `{m.name}` | `worker` | {m.help} |" for m in OF_WORKER]
    for m in OF_PARTS:
        lines.append(f"| `{m.name}` | {', '.join(f'`{label}`' for label in m.labels)} | {m.help} |")
    lines += [f"| `{m.name}` | | {m.help}{MATURED} |" for m in OF_STREAM]
    lines += [f"| `{m.name}` | | {m.help}{RECENT} |" for m in OF_RECENT]
    lines += [f"| `{REDIS_UP}` | | {REDIS_UP_HELP} |"]
    return "\n".join(lines)


def test_the_reference_lists_every_metric_as_it_is() -> None:
    assert metrics_table() in (ROOT / "docs" / "reference.md").read_text()


def alarms_table() -> str:
    """The table of alarms as docs/operations.md must have it."""
    lines = ["| alarm | what it means | its figure, and the limit | what to look at |"]
    lines += ["|---|---|---|---|"]
    lines += [f"| `{name}` | {k.words} | {k.figure} | {k.look} |" for name, k in KINDS.items()]
    return "\n".join(lines)


def test_the_operations_page_lists_every_alarm_as_it_is() -> None:
    assert alarms_table() in (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.parametrize(
    "page", ["README.md", *[f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")]]
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), target
