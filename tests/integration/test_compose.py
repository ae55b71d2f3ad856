"""docker-compose.yml and the Dockerfile: what they say, and their services run without Docker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from compose_spec import PyOptions, parse_duration
from packaging.specifiers import SpecifierSet

from stream.io.store import StoreReader
from tests.servers.kafka import JARS, free_port

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

NOT_HERE = {"prometheus", "grafana"}
"""Services whose programs are in their images only; what we give them is read by
tests/unit/test_monitoring.py."""
OURS = {name for name, service in SERVICES.items() if "build" in service}
ONE_SHOT = {"topics"}
DETECTORS = 2


# --- What the file says ---------------------------------------------------------------------------


def problems(text: str) -> list[str]:
    """What is wrong with a compose file by the specification.

    `compose-spec` knows the schema, with every key and type; what refers to something, it leaves
    in part unread, and a period that is a bare number it takes though the specification does not.
    """
    try:
        PyOptions(apply_merge=True).from_yaml(text).validate()
    except ValueError as error:
        return [str(error)]
    document = yaml.safe_load(text)
    services, found = document["services"], []
    for name, service in services.items():
        if not {"image", "build"} & service.keys():
            found.append(f"{name} has neither image nor build")
        found += [f"{name} waits for {on}" for on in waits_for(service) if on not in services]
        volumes = [str(volume).partition(":")[0] for volume in service.get("volumes", [])]
        found += [
            f"{name} mounts {volume}"
            for volume in volumes
            if volume[0] not in "./~" and volume not in document.get("volumes", {})
        ]
        if isinstance(service.get("stop_grace_period", ""), int):
            found.append(f"{name} has a stop_grace_period without unit")
    left = {name: set(waits_for(service)) for name, service in services.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        left = {name: others for name, others in left.items() if name not in free}
    return found + [f"{name} waits for itself" for name in left]


def waits_for(service: Mapping[str, Any]) -> dict[str, str]:
    """The services that this one waits for, and until when."""
    return {name: on["condition"] for name, on in service.get("depends_on", {}).items()}


def test_the_compose_file_follows_the_specification() -> None:
    assert problems(TEXT) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("    command: [weir, watch]", "    comand: [weir, watch]"),
        ("services:\n  kafka:", "servces: {}\nservices:\n  kafka:"),
        ("interval: 5s", "intervall: 5s"),
        ("interval: 5s", "interval: 5 parsecs"),
        ("retries: 5", "retries: many"),
        ("read_only: true", "read_only: perhaps"),
        ("restart: on-failure", "restart: sometimes"),
        ("restart: on-failure", "restart: on-failure\n    restart: always"),
        ("condition: service_healthy", "condition: service_well"),
        ("kafka: {condition: service_healthy}", "kafak: {condition: service_healthy}"),
        ("127.0.0.1:29092:29092", "127.0.0.1:299092:29092"),
        ("volumes: [kafka-data:", "volumes: [kafka-dat:"),
        ("mem_limit: 1g", "mem_limit: plenty"),
        ("stop_grace_period: 60s", "stop_grace_period: 60"),
        ("    image: redis:", "    x-image: redis:"),
        ("profiles: [alerts]", "profiles: alerts"),
        ("    user: redis\n", "    depends_on: {watch: {condition: service_started}}\n"),
        ("cap_drop: [ALL]", "cap_drop: ALL"),
        ('test: [CMD, redis-cli, -p, "6379", ping]', "test: [redis-cli, ping]"),
    ],
)
def test_a_mistake_in_the_compose_file_is_found(right: str, wrong: str) -> None:
    assert right in TEXT
    assert problems(TEXT.replace(right, wrong, 1)) != []


def test_every_service_that_stays_has_a_health_check_and_time_to_stop() -> None:
    for name, service in SERVICES.items():
        if name in ONE_SHOT:
            assert service["restart"] == "no"
            continue
        check = service["healthcheck"]
        assert check["test"][0] == "CMD", name
        assert seconds(check["timeout"]) <= seconds(check["interval"]), name
        assert seconds(service["stop_grace_period"]) >= 10, name


def test_nothing_listens_beyond_this_machine() -> None:
    assert not any("network_mode" in service for service in SERVICES.values())
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), name
    open_ = {name for name, service in SERVICES.items() if "ports" in service}
    assert open_ == {"kafka", "redis", "dashboard", "grafana"}


def test_no_container_runs_as_root_or_can_become_it() -> None:
    for name, service in SERVICES.items():
        user = service.get("user") or (image_user() if name in OURS else "root")
        assert user.partition(":")[0] not in ("", "0", "root"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.keys() & {"privileged", "cap_add", "devices", "pid"}, name


def test_a_container_writes_only_to_memory_and_kafka_also_to_its_volume() -> None:
    for name in SERVICES.keys() - {"kafka"}:
        assert SERVICES[name]["read_only"] is True, name
        assert "/tmp" in SERVICES[name]["tmpfs"], name  # noqa: S108 - the container's
        for volume in SERVICES[name].get("volumes", []):
            source, _, how = volume.split(":")
            assert (ROOT / source).is_dir(), name
            assert how == "ro", name
    where = SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]
    assert SERVICES["kafka"]["volumes"] == [f"kafka-data:{where}"]


def test_images_are_pinned_and_kafka_is_the_version_that_the_tests_run() -> None:
    for name in SERVICES.keys() - OURS:
        assert re.search(r":v?\d+\.\d+\.\d+(-\w+)?$", SERVICES[name]["image"]), name
    pom = (ROOT / "tests" / "servers" / "pom.xml").read_text()
    version = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>([\d.]+)<", pom)
    assert version
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version[1]}"


def test_our_services_share_one_image_and_one_set_of_addresses() -> None:
    assert {"topics", "producer", "detector", "watch", "alerts", "metrics", "dashboard"} == OURS
    assert len({SERVICES[name]["image"] for name in OURS}) == 1
    assert len({json.dumps(SERVICES[name]["environment"]) for name in OURS}) == 1
    assert SERVICES["detector"]["environment"]["WEIR_BUS"].startswith("kafka://")
    assert "WEIR_STATE_DIR" not in SERVICES["detector"]["environment"]


def test_topics_are_made_once_kafka_is_well_and_before_anyone_works_on_them() -> None:
    assert waits_for(SERVICES["topics"]) == {"kafka": "service_healthy"}
    for name in ("producer", "detector", "alerts", "dashboard"):
        assert waits_for(SERVICES[name])["topics"] == "service_completed_successfully", name
    # Away, Redis does not stop scoring; so a detector only wants it to be on its way.
    assert waits_for(SERVICES["detector"])["redis"] == "service_started"


def test_the_detector_can_be_scaled() -> None:
    detector = SERVICES["detector"]
    assert not detector.keys() & {"container_name", "hostname", "ports", "volumes"}
    assert "WEIR_WORKER_ID" not in detector["environment"]  # so it is the container's hostname
    assert detector["restart"] == "on-failure"


# --- The image ------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined and comments left out."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", text)
    parts = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name.upper(), rest) for name, rest in parts]


def final_stage() -> list[tuple[str, str]]:
    last = max(i for i, (name, _) in enumerate(instructions()) if name == "FROM")
    return instructions()[last:]


def image_user() -> str:
    return next((rest for name, rest in reversed(final_stage()) if name == "USER"), "root")


def test_the_dockerfile_has_only_instructions_that_there_are() -> None:
    known = {"ARG", "CMD", "COPY", "ENV", "FROM", "LABEL", "RUN", "STOPSIGNAL", "USER", "WORKDIR"}
    assert {name for name, _ in instructions()} <= known


def test_the_image_is_built_in_stages_from_a_pinned_python_that_weir_allows() -> None:
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert len(bases) == 2
    for base in bases:
        version = re.fullmatch(r"python:(\d+\.\d+)(?:\.\d+)?-slim-\w+", base)
        assert version
        assert version[1] in SpecifierSet(PROJECT["requires-python"])
    assert len(set(bases)) == 1  # the environment is copied, so its interpreter must be there


def test_the_image_runs_as_a_numbered_user_that_is_not_root_and_stops_on_sigterm() -> None:
    user, group = image_user().split(":")
    assert int(user) >= 10_000
    assert int(group) >= 10_000
    made = " ".join(rest for name, rest in final_stage() if name == "RUN")
    assert f"--uid {user}" in made
    assert f"--gid {group}" in made
    assert ("STOPSIGNAL", "SIGTERM") in final_stage()
    assert not [rest for _, rest in final_stage() if re.search(r"gcc|build-essential|apt", rest)]


def test_what_the_image_copies_is_there_and_reaches_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in ignored  # all is left out, but for:
    sources = [
        source
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from=build ")
        for source in rest.split()[:-1]
    ]
    assert {"stream", "producers", "pyproject.toml", "constraints.txt"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, source


def test_every_command_of_ours_is_installed_in_the_image() -> None:
    commands = [SERVICES[name]["command"] for name in OURS]
    commands += [SERVICES[name]["healthcheck"]["test"][1:] for name in OURS - ONE_SHOT]
    commands.append(json.loads(next(rest for name, rest in final_stage() if name == "CMD")))
    assert {command[0] for command in commands} == set(PROJECT["scripts"])


# --- The services, run ----------------------------------------------------------------------------


def seconds(text: str) -> float:
    return float(parse_duration(text))


class Stack:
    """Compose without containers: the file's services as processes of this machine.

    A process gets its service's own command and environment, and nothing of ours. What a container
    has to itself it gets by another name: an address is a free port of the loopback, a volume a
    temporary directory, the hostname a worker id.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[tuple[str, str], int] = {}

    def port(self, service: str, container_port: str) -> int:
        """The port here that stands for one of a service's."""
        key = service, container_port
        if key not in self._ports:
            self._ports[key] = free_port()
        return self._ports[key]

    def here(self, service: str, text: str) -> str:
        """What a service's text says, with each address in it as it is here."""

        def address(match: re.Match[str]) -> str:
            host, between, port = match.groups()
            own = host in ("", "localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 - theirs
            assert own or host in SERVICES, f"{service}: nobody is called {host} in {text}"
            return f"127.0.0.1{between}{self.port(service if own else host, port)}"

        text = re.sub(r"([A-Za-z0-9.-]*)(:|(?<=[a-z0-9])/)(\d{4,5})\b", address, text)
        return str(self.port(service, text)) if re.fullmatch(r"\d{4,5}", text) else text

    def environment(self, service: str) -> dict[str, str]:
        values = SERVICES[service].get("environment", {})
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **{name: self.here(service, value) for name, value in values.items()},
        }

    def arguments(self, service: str, words: list[str]) -> list[str]:
        """A command of a service as it is here. Compose reads `$$` as a dollar sign."""
        return [self.here(service, word.replace("$$", "$")) for word in words]

    def command(self, service: str) -> list[str]:
        if service == "kafka":
            return self._kafka()
        words = self.arguments(service, SERVICES[service]["command"])
        if service == "redis":  # a container is alone on its network; here we are not
            words += ["--bind", "127.0.0.1"]
        return words

    def _kafka(self) -> list[str]:
        """What apache/kafka does with its environment: its own program writes the properties.

        As in the image nothing but the environment goes into them, and the storage is formatted.
        """
        environment = self.environment("kafka")
        environment["KAFKA_LOG_DIRS"] = str(self.folder / "kafka-data")
        java = ["java", *environment["KAFKA_HEAP_OPTS"].split(), "-XX:TieredStopAtLevel=1"]
        java += ["-cp", f"{JARS}/*"]
        setup = [*java, "kafka.docker.KafkaDockerWrapper", "setup"]
        for kind in ("default", "mounted", "final"):
            (self.folder / kind).mkdir()
            setup += [f"--{kind}-configs-dir", str(self.folder / kind)]
        subprocess.run(setup, env=environment, check=True, capture_output=True)
        return [*java, "kafka.Kafka", str(self.folder / "final" / "server.properties")]

    def start(self, service: str, name: str | None = None) -> None:
        """Start a service, or one replica of it."""
        name = name or service
        environment = self.environment(service)
        if service == "detector":
            environment["WEIR_WORKER_ID"] = name  # this machine's hostname is the same for all
        place = self.folder / name
        place.mkdir()
        command = self.command(service)
        with self.output(name).open("wb") as output, self.log(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command,
                env=environment,
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                start_new_session=True,
            )

    def up(self) -> None:
        """Start all services, each when what it waits for is so."""
        waiting = {name: SERVICES[name] for name in SERVICES.keys() - NOT_HERE}
        while waiting:
            service = next(s for s in waiting if not waits_for(SERVICES[s]).keys() & waiting.keys())
            for other, condition in waits_for(SERVICES[service]).items():
                if condition == "service_healthy":
                    until(lambda o=other: self.healthy(o), 60, f"{other} is well")
                elif condition == "service_completed_successfully":
                    assert self.processes[other].wait(timeout=60) == 0, self.log(other).read_text()
            replicas = DETECTORS if service == "detector" else 1
            for i in range(1, replicas + 1):
                self.start(service, f"{service}-{i}" if replicas > 1 else service)
            del waiting[service]

    def healthy(self, service: str) -> bool:
        """Whether the service's own health check says so."""
        check = SERVICES[service]["healthcheck"]
        result = subprocess.run(
            self.arguments(service, check["test"][1:]),
            env=self.environment(service),
            cwd=self.folder,
            timeout=seconds(check["timeout"]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        return result.returncode == 0

    def stop(self, name: str) -> int:
        """Stop it as compose does, and return its exit code; late is an error."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        service = re.sub(r"-\d+$", "", name)
        return process.wait(timeout=seconds(SERVICES[service]["stop_grace_period"]))

    def kill(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def output(self, name: str) -> Path:
        return self.folder / f"{name}.out"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def until(true: Callable[[], bool], timeout_seconds: float, what: str) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}"
        time.sleep(0.2)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    try:
        yield stack
    finally:
        stack.kill()


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.usefixtures("kafka", "redis_server")  # they skip, or in CI fail, where one is missing
def test_the_services_run_together_are_well_and_stop_when_told(stack: Stack) -> None:
    assert not stack.healthy("kafka")
    assert not stack.healthy("redis")
    assert not stack.healthy("detector")
    stack.up()
    reader = StoreReader(stack.environment("watch")["WEIR_REDIS"], "weir")
    detectors = [f"detector-{i}" for i in range(1, DETECTORS + 1)]

    def at_work() -> bool:
        for name, process in stack.processes.items():
            gone = process.poll() is not None and name not in ONE_SHOT
            assert not gone, f"{name}:\n{stack.log(name).read_text()[-4000:]}"
        workers = sorted(live.worker for live in reader.live() if live.decisions and live.learned)
        return workers == detectors and "decided=" in stack.output("watch").read_text()

    with closing(reader):
        until(at_work, 90, f"{detectors} decide and learn")
    assert stack.processes.pop("topics").returncode == 0
    for service in SERVICES.keys() - ONE_SHOT - NOT_HERE:
        assert stack.healthy(service), service

    link = stack.output("dashboard").read_text().split()[-1]
    page, token = link.split("#token=")
    assert "<title>" in httpx2.get(page, timeout=30).text
    assert httpx2.get(f"{page}api/snapshot", timeout=30).status_code == 401
    with_token = {"Authorization": f"Bearer {token}"}
    assert httpx2.get(f"{page}api/snapshot", timeout=30, headers=with_token).status_code == 200
    assert token not in stack.log("dashboard").read_text()

    for name in ["producer", "watch", "alerts", "dashboard", *detectors]:
        assert stack.stop(name) == 0, stack.log(name).read_text()[-4000:]
        if name != "producer":  # that shows its progress
            for line in stack.log(name).read_text().splitlines():
                assert {"time", "level", "logger", "message"} <= json.loads(line).keys()
        # A container's root is read-only: nobody may have written beside its /tmp.
        assert list((stack.folder / name).iterdir()) == [], name
    for line in stack.output("alerts").read_text().splitlines():
        assert json.loads(line)["alert_id"]
    for name in ("redis", "kafka"):
        stack.stop(name)
