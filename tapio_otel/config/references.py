"""Checks of what holds the configuration together: every id that `service` names is defined, and is of use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tapio_otel.component import Kind
from tapio_otel.config.located import Located
from tapio_otel.config.problem import Path, Problem
from tapio_otel.config.service import SIGNAL
from tapio_otel.config.suggest import nearest

Defined = Mapping[Kind, Mapping[str, Located]]
"""The nodes of the defined components, by kind and id."""

_PIPELINE_KINDS = (Kind.RECEIVER, Kind.PROCESSOR, Kind.EXPORTER)
_NEEDED = (Kind.RECEIVER, Kind.EXPORTER)
_FOREIGN = ("traces", "metrics", "profiles")


def used(service: Located | None) -> dict[Kind, set[str]]:
    """Return the ids that pipelines and `service.extensions` name, by kind."""
    found: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for kind, _, node in _references(service):
        if isinstance(node.value, str):
            found[kind].add(node.value)
    return found


def check_references(service: Located | None, defined: Defined, root: Located) -> Iterator[Problem]:
    """Yield what is wrong with pipelines and references."""
    pipelines = service.child("pipelines") if service is not None else None
    if pipelines is None or not pipelines.members():
        place = pipelines or service or root
        if not place.broken and (pipelines is None or pipelines.value in (None, {})):
            yield place.position.problem(
                ("service", "pipelines"), "there is no pipeline; define one, such as logs, with receivers and exporters"
            )
    else:
        for name, node in pipelines.members().items():
            yield from _check_pipeline(name, node)
    yield from _check_defined(service, defined)


def _check_pipeline(name: str, node: Located) -> Iterator[Problem]:
    path: Path = ("service", "pipelines", name)
    signal = name.partition("/")[0]
    if signal != SIGNAL:
        yield node.position.problem(path, _not_logs(name, signal))
        return
    if node.broken or not (node.value is None or isinstance(node.value, dict)):
        return
    for kind in _NEEDED:
        listed = node.child(kind.value)
        if listed is None or (not listed.broken and listed.value in (None, [])):
            place = listed or node
            yield place.position.problem(
                path, f"the pipeline has no {kind.value}; list at least one {kind.singular} id under {kind.value}"
            )


def _not_logs(name: str, signal: str) -> str:
    if signal in _FOREIGN:
        return (
            f"{signal} pipelines are not supported, every event here is a log record; "
            f"name it logs or logs/name, and leave {signal} to an otel-collector"
        )
    return f"{name!r} is no pipeline id; name it logs or logs/name"


def _references(service: Located | None) -> Iterator[tuple[Kind, Path, Located]]:
    """Yield every place where an id is named."""
    if service is None:
        return
    pipelines = service.child("pipelines")
    for name, pipeline in (pipelines.members() if pipelines else {}).items():
        for kind in _PIPELINE_KINDS:
            yield from _listed(kind, pipeline.child(kind.value), ("service", "pipelines", name, kind.value))
    yield from _listed(Kind.EXTENSION, service.child("extensions"), ("service", "extensions"))


def _listed(kind: Kind, node: Located | None, path: Path) -> Iterator[tuple[Kind, Path, Located]]:
    if node is not None and isinstance(node.value, list):
        for index, item in enumerate(node.value):
            yield kind, (*path, index), item


def _check_defined(service: Located | None, defined: Defined) -> Iterator[Problem]:
    seen: set[tuple[Path, str]] = set()
    for kind, path, node in _references(service):
        if not isinstance(node.value, str):
            continue
        if node.value not in defined[kind]:
            yield node.position.problem(path, _undefined(kind, node.value, defined))
        elif (path[:-1], node.value) in seen:
            yield node.position.problem(path, f"{node.value!r} is listed twice; remove one")
        seen.add((path[:-1], node.value))


def _undefined(kind: Kind, name: str, defined: Defined) -> str:
    said = f"{kind.singular} {name!r} is not defined"
    elsewhere = next((other for other in Kind if name in defined[other]), None)
    near = nearest(name, defined[kind])
    if near:
        return f"{said}; did you mean {near!r}?"
    if elsewhere:
        return f"{said}, but there is a {elsewhere.singular} of that id; move it, or define {name!r} under {kind.value}"
    there = f"defined are {', '.join(sorted(defined[kind]))}" if defined[kind] else "none is defined"
    return f"{said}; define it under {kind.value} ({there})"


def unused(service: Located | None, defined: Defined) -> Iterator[Problem]:
    """Yield a warning for every component that is defined and does nothing."""
    named = used(service)
    for kind, nodes in defined.items():
        for name, node in nodes.items():
            if name not in named[kind]:
                where = "service.extensions" if kind is Kind.EXTENSION else "a pipeline"
                message = f"this {kind.singular} is defined and never used; add it to {where}, or remove it"
                yield as_warning(node.position.problem((kind.value, name), message))


def as_warning(problem: Problem) -> Problem:
    """Return the problem as one that stops nothing."""
    return replace(problem, severity="warning")
