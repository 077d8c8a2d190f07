"""The options of `correlate`."""

from __future__ import annotations

from pydantic import Field

from tapio_otel.component import ComponentConfig
from tapio_otel.config.types import Duration


class CorrelateConfig(ComponentConfig):
    """Be the options of `correlate`."""

    rules: list[str] = Field(
        ["builtin", "plugins"],
        description="Where rules come from: `builtin`, `plugins`, the name of what a plugin brings, the path of a file or "
        "of a directory of `*.yaml`. Of rules with one name the last one counts.",
    )
    disabled_rules: list[str] = Field(default_factory=list, description="Names of rules to leave out.")
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
