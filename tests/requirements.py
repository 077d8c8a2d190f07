"""Say what a test needs from the machine, and whether its absence is a skip or a failure.

On a developer's machine a test whose part is missing is skipped with the exact reason. Where the environment variable
`TAPIO_REQUIRE` names the part (a comma-separated list, or `all`), the same absence fails the test: so a machine that is meant
to run everything, such as CI, cannot pass by running nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NoReturn

import pytest

PARTS: Final = {
    "bcc": "BCC and kernel headers for it (apt packages python3-bpfcc, linux-headers-amd64 or the like)",
    "bpf": "the rights of root and a kernel with BTF that loads BPF programs, built by make bpf (clang, libbpf-dev)",
    "chromium": "a Chromium on PATH (apt package chromium), playwright and axe-playwright-python (of the extra `dev`)",
    "collector": "an otel-collector built by scripts/build-collector (needs Go and the Go module proxy, or a cached build)",
    "containerd": "containerd and runc fetched by scripts/fetch-containerd, on x86-64",
    "docs": "the checkout's README.md, docs/ and config/ files",
    "fuzzer": "the Python package atheris (of the extra `dev`, on x86-64)",
    "journal": "systemd-journal-remote, which makes journal files (apt package systemd-journal-remote)",
    "journald": "a running journald, or the rights to boot one",
    "kubernetes": "kube-apiserver and etcd built by scripts/build-apiserver (needs Go and its module proxy, or a cached build)",
    "openssl": "the openssl command",
    "root": "the rights of root",
    "systemd": "the rights and the programs to boot a systemd of the test's own",
    "tty": "a pseudo-terminal",
}

# Tests that may be skipped even where every part is required: the start of the node id, and why.
_CLOSED = "the checkout, or the Python, may be where other users cannot read it"
ALLOWED_SKIPS: Final[Mapping[str, str]] = {
    "tests/patterns/test_library.py::test_a_file_that_may_not_be_read_is_told": "root may read everything",
    "tests/receivers/ebpf/test_libbpf.py::test_an_object_that_may_not_be_read_is_reported": _CLOSED,
    "tests/receivers/ebpf/test_libbpf.py::test_two_capabilities_suffice_for_another_user": _CLOSED,
}


def required(part: str) -> bool:
    """Tell whether the environment demands that `part` is there; raises ValueError for a part nobody knows."""
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}: expected one of {', '.join(PARTS)}, or add it to tests/requirements.py")
    return bool({part, "all"} & demanded())


def demanded() -> set[str]:
    """Return the names in `TAPIO_REQUIRE`."""
    return {name.strip() for name in os.environ.get("TAPIO_REQUIRE", "").split(",")} - {""}


def require(part: str, available: bool, reason: str) -> None:
    """Go on if `available`; else skip the running test, or fail it where `part` is required, giving `reason`."""
    must = required(part)
    if not available:
        _give_up(part, reason, must)


def _give_up(part: str, reason: str, must: bool) -> NoReturn:
    if must:
        pytest.fail(f"{part} is required by TAPIO_REQUIRE but missing: {reason}", pytrace=False)
    pytest.skip(f"needs {part}: {reason}")


def skip_is_allowed(node_id: str) -> bool:
    """Tell whether the test may be skipped even where every part is required."""
    return any(node_id.startswith(start) for start in ALLOWED_SKIPS)
