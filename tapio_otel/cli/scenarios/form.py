"""How a scenario is written: the one specification that checking, messages and the documentation are made from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tapio_otel.config.compose import compose
from tapio_otel.config.explain import check
from tapio_otel.config.files import Unreadable, read_text
from tapio_otel.config.problem import ConfigError, Problem
from tapio_otel.config.types import Duration
from tapio_otel.correlation.rule_options import ExampleEvent, Name, Word

HOST: Final = "node-1"
"""The machine that steps happen on which name none."""
RAW: Final = ("journal", "kernel", "systemd", "pod", "cluster_node", "cluster_event", "noise")
"""Keys of a step of which at most one is there; without any, the step is an event as the event JSON has it."""
Label = str | int


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SystemdStep(_Options):
    """Be one change of a unit's state, as systemd announces it on D-Bus."""

    unit: Word = Field(description="The unit.")
    to: str = Field(default="", description="State and sub state it comes to: `failed/failed`; empty for a job that failed.")
    before: str = Field(default="", description="State and sub state before the scenario; active/running unless given.")
    result: str = Field(default="", description="The property Result; success unless given.")
    exit_code: int | None = Field(default=None, description="The status that the main process exited with.")
    signal: int | None = Field(default=None, description="The signal that killed the main process.")
    restarts: int | None = Field(default=None, description="The property NRestarts; as before unless given.")
    main_pid: int = Field(default=0, description="The property MainPID.")
    job: str = Field(default="", description="The type of the job that does it: start, stop, restart, reload.")
    job_result: str = Field(default="", description="Result of a job that failed: dependency, timeout…; then `to` is empty.")


class PodStep(_Options):
    """Be one new version of a pod, told by what has changed; words and values are those of the API."""

    name: Word = Field(description="Namespace and name: `prod/web-0`.")
    container: str = Field(
        default="", description="The container that `terminated`, `waiting`, `restarted` are about; the first."
    )
    terminated: dict[str, Any] | None = Field(
        default=None, description="How the container ended: `{reason: Error, exitCode: 1}`."
    )
    waiting: dict[str, Any] | None = Field(default=None, description="Why it waits: `{reason: CrashLoopBackOff, message: …}`.")
    restarted: bool = Field(default=False, description="Whether it runs again, as a container of its own.")
    conditions: dict[str, str] = Field(default={}, description="Conditions that are another than before: `{Ready: 'False'}`.")
    phase: str = Field(default="", description="The phase.")
    reason: str = Field(default="", description="The status' reason, such as Evicted.")
    message: str = Field(default="", description="The status' message.")
    terminating: bool = Field(default=False, description="Whether its deletion was asked for.")
    created: bool = Field(default=False, description="Whether it is new; else it was there before the scenario.")
    deleted: bool = Field(default=False, description="Whether it is gone.")


class NodeStep(_Options):
    """Be one new version of a node, told by what has changed."""

    name: Word = Field(description="The node's name.")
    conditions: dict[str, dict[str, str]] = Field(
        default={}, description="Conditions that are another than before: `{Ready: {status: Unknown, reason: …, message: …}}`."
    )
    taints: list[str] = Field(default=[], description="All of its taints: `key:effect`.")
    deleted: bool = Field(default=False, description="Whether it is gone.")


class EventStep(_Options):
    """Be one event of Kubernetes, of core/v1."""

    about: Word = Field(
        description="What it regards: `pod/prod/web-0`, `pod/prod/web-0/app`, `node/node-1`, `deployment/prod/web`."
    )
    reason: Word = Field(description="The reason.")
    message: str = Field(default="", description="The message.")
    type: str = Field(default="Warning", description="Normal or Warning.")
    component: str = Field(default="kubelet", description="Who reported it.")
    count: int = Field(default=1, ge=1, description="How often it happened so far.")


class Noise(_Options):
    """Be many events of other things on other machines, made from a seed: always the same ones."""

    seed: int = Field(description="The seed.")
    count: int = Field(default=10_000, ge=1, description="How many.")
    over: Duration = Field(default=600.0, gt=0, description="The time over which they are spread.")


class Step(ExampleEvent):
    """Be one thing that happened and was told by one source."""

    label: Label | list[Label] = Field(
        default=[],
        description="What findings call it by. What several sources tell of one fact has the same label; a step that tells of "
        "two facts has two.",
    )
    host: Word = Field(default=HOST, description="The machine it happened on.")
    journal: dict[str, str | int] | None = Field(
        default=None,
        description="A journal entry's fields. `unit: x` stands for the fields of what a service writes, `about: x` for those "
        "of the service manager's messages about a unit, `container: prod/web-0` for those of what a container prints, "
        "`kernel: 1` for the kernel's.",
    )
    kernel: dict[str, Any] | None = Field(
        default=None,
        description="What a probe in the kernel saw: `probe` (oom_kill, cpu_throttle, network_drop, tcp_retransmit, tcp_reset) "
        "and its facts. `unit: x` and `container: prod/web-0` stand for the cgroup.",
    )
    systemd: SystemdStep | None = Field(default=None, description="A change of a unit's state on D-Bus.")
    pod: PodStep | None = Field(default=None, description="A change of a pod.")
    cluster_node: NodeStep | None = Field(default=None, description="A change of a node's object in Kubernetes.")
    cluster_event: EventStep | None = Field(default=None, description="An event of Kubernetes.")
    noise: Noise | None = Field(default=None, description="Events of other things.")
    late: Duration = Field(default=0.0, ge=0, description="How much later than it happened it arrives.")
    deliveries: int = Field(default=1, ge=1, description="How often it is delivered, with the same ids, a second apart.")

    @model_validator(mode="after")
    def _one_form(self) -> Step:
        given = [name for name in RAW if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"found {', '.join(given)}: write one step for each")
        return self

    @property
    def called(self) -> list[Label]:
        """Return what it is called by."""
        return self.label if isinstance(self.label, list) else [self.label]


class KnownPod(_Options):
    """Be a pod that is there before the scenario begins, or that comes in it."""

    name: Word = Field(description="Namespace and name: `prod/web-0`.")
    node: str = Field(default=HOST, description="The node it runs on; empty where it is not scheduled.")
    ip: str = Field(default="", description="Its address.")
    owner: str = Field(
        default="", description="What it belongs to: `deployment/web`, `statefulset/db`, `daemonset/agent`, `job/x`."
    )
    containers: list[Word] = Field(default=["app"], description="Its containers.")
    image: str = Field(default="registry.example.com/shop/app:1.4", description="The image of its containers.")
    services: list[Word] = Field(default=[], description="Services of its namespace that lead to it.")


class Cluster(_Options):
    """Say what there is in the cluster."""

    pods: list[KnownPod] = Field(default=[], description="The pods.")
    services: dict[str, str] = Field(default={}, description="Addresses of services: `{prod/web: 10.96.0.7}`.")


class LabelledFinding(_Options):
    """Say what a finding must be, in labels, or by the numbers of steps where these have none."""

    rule: Name = Field(description="The rule's name.")
    root_cause: Label = Field(description="The root cause.")
    impacts: list[Label] | None = Field(default=None, description="Its consequences, in any order; not compared if left out.")
    also: list[Label] = Field(default=[], description="What may be among its consequences or not, as people would disagree.")


class Scenario(_Options):
    """Be what happened, and what must be concluded from it: nothing where the list is empty."""

    name: Word = Field(description="What happens, in a few words.")
    description: str = Field(default="", description="What is special about it, and why this is what must be concluded.")
    trap: str = Field(
        default="", description="What a careless reader would conclude wrongly. Without findings a scenario is a trap anyway."
    )
    clocks: dict[str, Duration | str] = Field(
        default={}, description="How far the clock of a source or a machine is ahead: `{kubernetes: 5s}`, `{node-2: -5s}`."
    )
    cluster: Cluster = Field(default=Cluster(), description="What there is in the cluster.")
    listeners: dict[str, dict[str, str]] = Field(
        default={}, description="Which units listen where, by machine: `{node-1: {'127.0.0.1:5432': postgresql.service}}`."
    )
    events: Annotated[list[Step], Field(min_length=1)] = Field(description="What happened, in any order.")
    findings: list[LabelledFinding] = Field(description="All findings that must be told; [] for none.")

    @property
    def is_trap(self) -> bool:
        """Tell whether something must not be concluded from it."""
        return bool(self.trap) or not self.findings


def read_scenarios(paths: Iterable[str | Path]) -> list[tuple[str, Scenario]]:
    """Return scenarios, each with its file: of files, or all *.yaml of directories; raises `ConfigError` with all errors."""
    read = [(str(file), *_read(file)) for path in paths for file in _files(Path(path))]
    problems = [problem for _, _, found in read for problem in found]
    if problems:
        raise ConfigError(problems)
    return [(file, scenario) for file, scenario, _ in read if scenario is not None]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.yaml"))
    if not found:
        raise ConfigError([Problem(str(path), None, "", "there is no *.yaml in this directory; check the path")])
    return found


def _read(file: Path) -> tuple[Scenario | None, list[Problem]]:
    try:
        text = read_text(file)
    except Unreadable as error:
        return None, [Problem(str(file), error.line, "", str(error))]
    composed = compose(text, str(file))
    if composed.root is None or composed.problems:
        return None, composed.problems or [Problem(str(file), None, "", "the file is empty; write a scenario")]
    checked = check(Scenario, composed.root, ())
    scenario = checked.config
    if scenario is None or checked.problems:
        return None, list(checked.problems)
    problems = [
        composed.root.position.problem(("findings", place), _unknown(scenario, one))
        for place, finding in enumerate(scenario.findings)
        for one in (finding.root_cause, *(finding.impacts or ()), *finding.also)
        if not _is_known(scenario, one)
    ]
    return (None if problems else scenario), problems


def _is_known(scenario: Scenario, label: Label) -> bool:
    if any(label in step.called for step in scenario.events):
        return True
    return isinstance(label, int) and 0 <= label < len(scenario.events)


def _unknown(scenario: Scenario, label: Label) -> str:
    if isinstance(label, int):
        return f"there is no event {label}; the last one is {len(scenario.events) - 1}"
    known = sorted({str(one) for step in scenario.events for one in step.called})
    return f"there is no event with the label {label!r}; labels are {', '.join(known) or 'none'}"
