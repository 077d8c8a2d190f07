"""The configuration as it may be shown: secrets replaced, everything else as it was written."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import yaml

from tapio_otel.config.located import Located, walk
from tapio_otel.config.problem import Path
from tapio_otel.config.scalars import resolve
from tapio_otel.config.secrecy import MASK, is_secret_name, mask_text

if TYPE_CHECKING:
    from tapio_otel.config.loader import Configuration

_NEEDS_ESCAPE = re.compile(r"\$(?=[${])")
_LINE_BREAK = re.compile("[\r\x85\u2028\u2029\ufeff]")
_SHORTEST: Final = 4
"""Secrets with fewer characters are not searched for in messages: they would match everywhere and hide the message."""


def redact(configuration: Configuration) -> dict[str, Any]:
    """Return the merged configuration with every secret replaced by `[REDACTED]`, keys in their original order."""
    return {name: _redacted(value, (name,), configuration.secrets) for name, value in configuration.merged.items()}


def _redacted(value: Any, path: Path, secrets: Collection[Path]) -> Any:
    if isinstance(value, dict):
        return {key: _redacted(child, (*path, key), secrets) for key, child in value.items()}
    if isinstance(value, list):
        return [_redacted(child, (*path, index), secrets) for index, child in enumerate(value)]
    if path in secrets and not isinstance(value, bool) and value is not None:
        return MASK
    return mask_text(value) if isinstance(value, str) else value


def secret_paths(root: Located, by_type: Collection[Path]) -> Iterator[Path]:
    """Yield the paths of what must not be shown: by name, origin, or type of the option."""
    return (path for path, node in walk(root) if node.hidden or path in by_type or _is_secret(path))


def _is_secret(path: Path) -> bool:
    """Judge by names. Component ids and section names are left out, or a component called `otlp/token` would hide it all."""
    if path[-1:] == ("name",) and "headers" in path:  # the list form of headers: name and value
        return False
    start = 3 if path[:2] == ("service", "pipelines") else 2 if path[:1] != ("service",) else 1
    return any(isinstance(part, str) and is_secret_name(part) for part in path[start:])


def secret_texts(root: Located, secrets: Collection[Path]) -> list[str]:
    """Return the secret values themselves, longest first, for `scrub`."""
    nodes = [node for path, node in walk(root) if path in secrets]
    found = {str(node.value) for node in nodes if not isinstance(node.value, dict | list)} | {node.text or "" for node in nodes}
    return sorted((text for text in found - {"True", "False", "None"} if len(text) >= _SHORTEST), key=len, reverse=True)


def scrub(message: str, texts: Iterable[str]) -> str:
    """Return the message without the secret texts, whoever wrote them into it."""
    for text in texts:
        message = message.replace(text, MASK)
    return message


class _Dumper(yaml.SafeDumper):
    """Write strings so that the loader reads them back: it follows YAML 1.2, PyYAML's own choice of quotes YAML 1.1."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=_style(text))


def _style(text: str) -> str | None:
    if _LINE_BREAK.search(text):  # unescaped, YAML reads these as the end of a line
        return '"'
    if not isinstance(resolve(text), str):
        return "'"
    return "|" if "\n" in text else None


_Dumper.add_representer(str, _represent_text)


def dump_yaml(value: Mapping[str, Any]) -> str:
    """Return YAML that the loader reads back to the same values: `$` is escaped where it would begin a substitution."""
    return yaml.dump(_escaped(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _escaped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _escaped(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(child) for child in value]
    return _NEEDS_ESCAPE.sub("$$", value) if isinstance(value, str) else value
