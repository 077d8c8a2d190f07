"""host: what this machine says of itself, without any cluster: its system from os-release(5), kernel and architecture.

Read once, below `service.root_path`. Where that is not the host's root (in a pod without the host's file system) it is left to
the node's own words, as os-release is then the image's.
"""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tapio_otel.enrichment import Enricher, EnricherContext, Subject

_OS_RELEASE: Final = ("etc/os-release", "usr/lib/os-release")
_KERNEL: Final = "proc/sys/kernel/osrelease"
_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm32",
    "armv6l": "arm32",
    "i386": "x86",
    "i686": "x86",
    "ppc64le": "ppc64",
}
"""Machines by uname(2) and as the conventions name them."""
_LINES: Final = 200


class HostEnricher(Enricher):
    """Add what is known of this machine."""

    def __init__(self, context: EnricherContext, _options: object) -> None:
        self._entities = context.component.entities
        self._system: dict[str, str] = {}
        self._machine: dict[str, str] = {}

    async def start(self) -> None:
        """Read what does not change while the machine is up."""
        root = self._entities.root_path
        self._system = system_of(os_release(root))
        kernel = _line(root / _KERNEL)
        machine = platform.machine()
        self._machine = {"tapio.host.kernel_version": kernel, "host.arch": _ARCHITECTURES.get(machine, machine)}
        self.version += 1

    def enrich(self, subject: Subject) -> None:
        """Add to events about this machine or anything on it."""
        if not subject.here:
            return
        for key, text in self._machine.items():
            subject.add(key, text)
        node = subject.node
        if node is None or node.machine_id in {"", self._entities.node.uid}:
            for key, text in self._system.items():
                subject.add(key, text)


def os_release(root: Path) -> dict[str, str]:
    """Return the fields of os-release(5) below a root; empty where there is none."""
    for name in _OS_RELEASE:
        try:
            lines = (root / name).read_text("utf-8", "replace").splitlines()[:_LINES]
        except OSError:
            continue
        return dict(filter(None, map(_field, lines)))
    return {}


def _field(line: str) -> tuple[str, str] | None:
    name, equals, text = line.strip().partition("=")
    if not equals or name.startswith("#"):
        return None
    try:
        return name, "".join(shlex.split(text))
    except ValueError:
        return None


def system_of(fields: Mapping[str, str]) -> dict[str, str]:
    """Return os-release's fields by the names of the conventions."""
    found = {
        "os.name": fields.get("NAME"),
        "os.version": fields.get("VERSION_ID"),
        "os.description": fields.get("PRETTY_NAME"),
        "os.build_id": fields.get("BUILD_ID"),
    }
    return {key: text for key, text in found.items() if text}


def _line(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""
