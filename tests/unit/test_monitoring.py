"""What `monitoring/` asks Prometheus for is there, and what it says fits together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from stream.watch.metrics import OF_PARTS, OF_RECENT, OF_STREAM, OF_WORKER, REDIS_UP

FOLDER = Path(__file__).parents[2] / "monitoring"
BOARD: dict[str, Any] = json.loads((FOLDER / "grafana" / "dashboards" / "weir.json").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "prometheus" / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
LABELS = {
    **{metric.name: {"worker"} for metric in OF_WORKER},
    **{metric.name: set(metric.labels) for metric in OF_PARTS},
    **{metric.name: set() for metric in (*OF_STREAM, *OF_RECENT)},
    REDIS_UP: set(),
}
"""Labels of each metric that there is."""
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]


def selectors(query: str) -> Iterator[promql_parser.VectorSelector]:
    """What a query selects, as a parser of PromQL reads it; `ValueError` where it cannot."""
    parts: list[Any] = [promql_parser.parse(query)]
    while parts:
        part = parts.pop()
        if isinstance(part, promql_parser.VectorSelector):
            yield part
        for name in ("lhs", "rhs", "expr", "args", "param", "vector_selector"):
            found = getattr(part, name, None)
            parts += found if isinstance(found, list) else [] if found is None else [found]


def unknown(query: str) -> list[str]:
    """Metrics and labels that a query names and that there are not."""
    found = []
    for selector in selectors(query):
        labels = LABELS.get(selector.name)
        if labels is None:
            found.append(selector.name)
        else:
            given = {matcher.name for matcher in selector.matchers.matchers}
            found += [f"{selector.name}{{{name}}}" for name in given - labels]
    return found


@pytest.mark.parametrize(("title", "query"), [(title, target["expr"]) for title, target in QUERIES])
def test_every_query_of_the_board_names_metrics_that_there_are(title: str, query: str) -> None:
    assert list(selectors(query)), title
    assert unknown(query) == [], title


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_every_rule_asks_for_metrics_that_there_are_and_says_what_to_do(
    rule: dict[str, Any],
) -> None:
    assert unknown(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("warning", "critical")
    for text in (rule["annotations"]["summary"], rule["annotations"]["description"]):
        for label in re.findall(r"\$labels\.(\w+)", text):
            assert any(label in LABELS[s.name] for s in selectors(rule["expr"]))


@pytest.mark.parametrize(
    "query",
    ["weir_threshhold", "sum(weir_lag_records{partition='1'})", "rate(weir_gone_total[5m])"],
)
def test_a_query_of_what_there_is_not_is_found(query: str) -> None:
    assert unknown(query)


def test_a_counter_is_shown_as_a_rate_and_a_gauge_is_not() -> None:
    for title, target in [*QUERIES, *((rule["alert"], rule) for rule in RULES)]:
        query = target["expr"]
        for selector in selectors(query):
            rated = re.search(rf"\brate\({selector.name}\b", query) is not None
            counted = re.search(rf"\bcount\({selector.name}\b", query) is not None
            assert rated == (selector.name.endswith("_total") and not counted), title


def test_the_legends_of_the_board_are_labels_of_what_is_queried() -> None:
    for title, target in QUERIES:
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert any(label in LABELS[s.name] for s in selectors(target["expr"])), title


def test_the_panels_have_places_of_their_own_and_a_data_source_that_is_provisioned() -> None:
    source = yaml.safe_load(
        (FOLDER / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()
    )["datasources"][0]
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": source["type"], "uid": source["uid"]}
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert all(panel["description"].endswith(".") for panel in PANELS)


def test_prometheus_scrapes_the_service_and_port_of_the_compose_file() -> None:
    scraped = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text())
    (target,) = scraped["scrape_configs"][0]["static_configs"][0]["targets"]
    services = yaml.safe_load((FOLDER.parent / "docker-compose.yml").read_text())["services"]
    host, port = target.split(":")
    command = services[host]["command"]
    assert command[:2] == ["weir", "metrics"]
    assert command[command.index("--port") + 1] == port
    assert services[host]["profiles"] == services["prometheus"]["profiles"] == ["monitoring"]
