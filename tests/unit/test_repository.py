"""What the repository says of itself, and what it must not say of the machine it was made on."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

# Each with a bracket somewhere, so that this file does not find itself.
MACHINE_PATHS = re.compile(r"/wor[k]/|/roo[t]/|/hom[e]/[a-z]|/User[s]/|/tm[p]/v\b|[C]:\\")
REGISTRIES = re.compile(
    r"pypi\.or[g]/simple|pythonhosted\.or[g]|repo1?\.mave[n]|maven\.apache\.or[g]/maven2"
    r"|docker\.i[o]/|ghcr\.i[o]|quay\.i[o]|gcr\.i[o]|--(extra-)?index-ur[l]|registry\.npmj[s]"
)


def own_files() -> list[Path]:
    """Every text file that is tracked, or would be with the next `git add`."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def found(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in own_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]


def pinned() -> dict[str, str]:
    """Name to version, as constraints.txt has them."""
    lines = (ROOT / "constraints.txt").read_text().split("\n")
    pins = [line.partition("==") for line in lines if line.strip() and not line.startswith("#")]
    assert all(separator and version for _, separator, version in pins)
    return {canonicalize_name(name): version for name, _, version in pins}


def wanted() -> list[Requirement]:
    """What pyproject.toml names: to run, and to check and test."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(text) for group in groups for text in group]


def needed(requirements: list[Requirement]) -> Iterator[Requirement]:
    """The requirements, and what those need in turn on this machine."""
    seen, waiting = set(), list(requirements)
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        yield requirement
        try:
            own = [Requirement(text) for text in requires(requirement.name) or []]
        except PackageNotFoundError:
            continue
        extras = requirement.extras or {""}
        waiting += [
            r for r in own if not r.marker or any(r.marker.evaluate({"extra": e}) for e in extras)
        ]


def test_the_patterns_find_what_they_are_for() -> None:
    for text in (
        "/wor" + "k/main/x",
        "cd /roo" + "t/",
        "/hom" + "e/ann/x",
        "/tm" + "p/v/bin/python",
    ):
        assert MACHINE_PATHS.search(text), text
    for text in (
        "https://pypi.or" + "g/simple",
        "https://repo1.mave" + "n.org",
        "ghcr.i" + "o/a/b",
    ):
        assert REGISTRIES.search(text), text
    assert not MACHINE_PATHS.search("tmpfs: [/tmp], /var/lib/weir, benchmarks/workers/x")


def test_no_file_names_a_path_of_the_machine_it_was_made_on() -> None:
    assert found(MACHINE_PATHS) == []


def test_no_file_names_the_host_of_a_registry() -> None:
    assert found(REGISTRIES) == []


def test_constraints_pin_all_that_pyproject_names_and_all_that_needs_in_turn() -> None:
    pins = pinned()
    missing = {canonicalize_name(r.name) for r in needed(wanted())} - pins.keys()
    assert missing == set()


def test_a_pinned_version_is_one_that_pyproject_allows() -> None:
    pins = pinned()
    refused = [str(r) for r in wanted() if pins[canonicalize_name(r.name)] not in r.specifier]
    assert refused == []


def test_the_ci_script_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", script], check=True, stdin=subprocess.DEVNULL)
