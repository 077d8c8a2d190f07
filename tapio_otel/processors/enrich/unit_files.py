"""Unit files: what they call their unit, found where systemd looks for them, below the host's root."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DIRECTORIES: Final = (
    "etc/systemd/system",
    "run/systemd/transient",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
)
"""systemd.unit(5), the first one that has the file."""
_SIZE: Final = 1 << 16
"""Bytes that are read of a file."""
_LONGEST: Final = 300


def template_of(unit: str) -> tuple[str, str]:
    """Return the name of a unit's template, with its instance: `getty@.service` and `tty1`; empty where it has none."""
    name, dot, kind = unit.rpartition(".")
    prefix, at, instance = name.partition("@")
    return (f"{prefix}@{dot}{kind}", instance) if at and instance else ("", "")


def describe_unit(unit: str, root: Path) -> str:
    """Return a unit's description, empty where there is none; drop-in files are not read."""
    if "/" in unit or not unit:
        return ""
    template, instance = template_of(unit)
    for name in filter(None, (unit, template)):
        for directory in DIRECTORIES:
            content = _read(root / directory / name)
            if content is not None:
                return _specified(_description(content), unit, instance)[:_LONGEST]
    return ""


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_SIZE).decode("utf-8", "replace")
    except OSError:
        return None


def _description(content: str) -> str:
    section = found = ""
    for line in content.split("\n"):
        text = line.strip()
        if text.startswith("["):
            section = text
        elif section == "[Unit]" and text.startswith("Description"):
            name, equals, value = text.partition("=")
            if equals and name.rstrip() == "Description":
                found = value.strip()
    return found


def _specified(text: str, unit: str, instance: str) -> str:
    """Put in what the commonest specifiers stand for."""
    if "%" not in text:
        return text
    name = unit.rpartition(".")[0]
    plain = instance.replace("-", "/")
    values = {"i": instance, "I": plain, "n": unit, "N": name, "p": name.partition("@")[0], "f": f"/{plain}", "%": "%"}
    parts = text.split("%")
    result = parts[0]
    index = 1
    while index < len(parts):
        part = parts[index]
        if not part and index + 1 < len(parts):  # %%
            index += 1
            result += "%" + parts[index]
        elif part and part[0] in values:
            result += values[part[0]] + part[1:]
        else:
            result += "%" + part
        index += 1
    return result
