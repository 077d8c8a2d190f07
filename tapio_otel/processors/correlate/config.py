"""The options of `correlate`."""

from __future__ import annotations

from pydantic import Field, model_validator

from tapio_otel.component import ComponentConfig
from tapio_otel.config.types import Duration


class PropagationConfig(ComponentConfig):
    """Choose which events inherit the trace that logs of the same process, run, container, unit or pod carry."""

    enabled: bool = Field(True, description="Give events of the kernel, of units and of pods the trace of the logs near them.")
    window: Duration = Field(
        10.0, gt=0, description="How far in time a log may be from an event that inherits its trace, before it or after it."
    )
    wait: Duration = Field(
        0.0,
        ge=0,
        description="How long an event that may inherit waits for logs that arrive after it. Zero lets it pass at once, with "
        "what is known by then; else it must be less than `allowed_lateness`.",
    )
    max_keys: int = Field(
        20_000,
        ge=100,
        description="Of how many processes, runs, containers, units and pods traces are remembered; those not heard of for the "
        "longest time go first.",
    )


class CorrelateConfig(ComponentConfig):
    """Be the options of `correlate`."""

    rules: list[str] = Field(
        ["builtin", "plugins"],
        description="Where rules come from: `builtin`, `plugins`, the name of what a plugin brings, the path of a file or "
        "of a directory of `*.yaml`. Of rules with one name the last one counts. Without any, only traces are propagated.",
    )
    disabled_rules: list[str] = Field(default_factory=list, description="Names of rules to leave out.")
    propagation: PropagationConfig = Field(
        default_factory=PropagationConfig, description="Which events inherit the trace of the logs near them."
    )
    emit_traces: bool = Field(
        False,
        description="Send each finding that has ended as a trace, too: one span for each of its events, the root cause's at "
        "the root. Only exporters that can send traces do so.",
    )
    allowed_lateness: Duration = Field(
        5.0,
        ge=0,
        description="How much later than others an event may arrive. Findings are told this long after the events; what comes "
        "later still joins a finding that is open, and opens none.",
    )
    order_tolerance: Duration = Field(
        5.0,
        ge=0,
        description="How far the clocks of two sources may differ: by so much a consequence may seem to come before its cause.",
    )
    update_interval: Duration = Field(
        5.0, ge=0, description="How much time there is at least between two revisions of a finding."
    )
    max_facts: int = Field(50_000, ge=100, description="How many facts, and how many events that wait, are kept at most.")
    max_open: int = Field(5_000, ge=1, description="How many groups of facts may be open at once; the oldest closes early.")

    @model_validator(mode="after")
    def _not_too_late_for_rules(self) -> CorrelateConfig:
        wait = self.propagation.wait if self.propagation.enabled else 0
        if self.rules and wait and wait >= self.allowed_lateness:
            raise ValueError(
                f"propagation.wait is {wait:g} s and allowed_lateness {self.allowed_lateness:g} s: events that waited would "
                "come too late for the rules; make the first shorter than the second"
            )
        return self
