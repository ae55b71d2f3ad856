"""A real Apache Kafka of one node, run from its own jars and thrown away at the end."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.servers.process import LocalServer, ServerProcess

JARS = Path(__file__).parents[2] / ".cache" / "kafka"
START_SECONDS = 60.0


def missing() -> str | None:
    """What is not there to run Kafka, and how to get it; None when all is there."""
    if shutil.which("java") is None:
        return "Apache Kafka needs Java 17: install it (openjdk-17-jre-headless)"
    if not any(JARS.glob("kafka_2.13-*.jar")):
        return "Apache Kafka's jars are not there: run `make kafka` (needs Maven)"
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def defaults(port: int, controller_port: int, data: Path) -> dict[str, str]:
    """Properties of a broker that is quick to start and needs no second one."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        # A killed broker that comes back waits until its former self is given up.
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "2000",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
    }


QUICK = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""For a broker that is there soon, and stops for ten milliseconds every second under load."""
STEADY = (
    *("-Xms3g", "-Xmx3g", "-Xmn2g", "-XX:+UseSerialGC", "-XX:+AlwaysPreTouch"),
    *("-XX:MetaspaceSize=96m", "-XX:MinMetaspaceFreeRatio=50", "-XX:MaxMetaspaceFreeRatio=80"),
)
"""For a broker on one core that stops as seldom as can be: 70 milliseconds every two minutes. What
the documentation of Apache Kafka recommends, G1 and six gigabytes, is for more cores: on one, it
stops for 30 to 40 milliseconds every eleven seconds."""


class LocalKafka(LocalServer):
    """One broker. `server_properties` are laid over the defaults, `java` are options of Java."""

    def __init__(
        self,
        server_properties: Mapping[str, str] | None = None,
        *,
        java: Sequence[str] = QUICK,
    ) -> None:
        self.port = free_port()
        self._options = java
        super().__init__(prefix="weir-kafka-")
        self.properties = defaults(self.port, free_port(), self._folder / "data")
        self._config = self._folder / "server.properties"
        self._output = self._folder / "output.txt"
        self.configure(server_properties or {})

    def configure(self, changes: Mapping[str, str]) -> None:
        """Lay these over the properties; they count from the next start on."""
        self.properties |= changes
        lines = [f"{name}={value}\n" for name, value in self.properties.items()]
        self._config.write_text("".join(lines))

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start, and return when it answers. The first start formats the storage."""
        if not (self._folder / "data" / "meta.properties").exists():
            tool = ["kafka.tools.StorageTool", "format", "--cluster-id", "weir-tests"]
            subprocess.run(
                [*self._java(), *tool, "--config", str(self._config)],
                check=True,
                capture_output=True,
            )
        self._process = ServerProcess(
            [*self._java(), "kafka.Kafka", str(self._config)], self._output
        )
        self._wait()
        return self

    def _java(self) -> list[str]:
        return ["java", *self._options, "-cp", f"{JARS}/*"]

    def _wait(self) -> None:
        """Return once the listener is open: the broker opens it when it is ready."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.runs():
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        output = self._output.read_text(errors="replace")[-4000:]
        self.stop()
        raise RuntimeError(f"Apache Kafka did not start within {START_SECONDS} s:\n{output}")
