"""The options of `memory_limiter`, named as the collector names them, and the limits that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import Field, model_validator

from tapio_otel.component import ComponentConfig
from tapio_otel.config.types import Duration
from tapio_otel.processors.memory_limiter.available import Available

MIB: Final = 1 << 20
DEFAULT_LIMIT_MIB: Final = 512
SHARE: Final = 80
"""Percent of the memory there is that the limit may be where no percentage is given."""
SPIKE_SHARE: Final = 20
"""Percent of the limit that the spike is where none is given."""


class MemoryLimiterConfig(ComponentConfig):
    """Be the options of `memory_limiter`. Without a limit it is 512 MiB, or 80 % of the memory there is if that is less."""

    check_interval: Duration = Field(
        1.0, ge=0.01, description="Longest time between two measurements; while events come in it is measured more often."
    )
    limit_mib: int = Field(
        0, ge=0, description="Most memory that the agent shall use, in MiB: the hard limit. Goes before `limit_percentage`."
    )
    spike_limit_mib: int = Field(
        0, ge=0, description="How far below `limit_mib` the soft limit is, in MiB; 0 for a fifth of the limit."
    )
    limit_percentage: int = Field(
        0, ge=0, le=100, description="The hard limit in percent of the cgroup's memory limit or, without one, of the machine's."
    )
    spike_limit_percentage: int = Field(
        0, ge=0, le=100, description="How far below `limit_percentage` the soft limit is; 0 for a fifth of the limit."
    )
    min_gc_interval_when_soft_limited: Duration = Field(
        10.0,
        ge=0,
        description="Least time between two garbage collections while memory is between the soft and the hard limit.",
    )
    min_gc_interval_when_hard_limited: Duration = Field(
        0.0, ge=0, description="Least time between two garbage collections while memory is above the hard limit."
    )

    @model_validator(mode="after")
    def _spikes_are_below_limits(self) -> MemoryLimiterConfig:
        for unit in ("mib", "percentage"):
            limit, spike = getattr(self, f"limit_{unit}"), getattr(self, f"spike_limit_{unit}")
            if spike and not limit:
                raise ValueError(f"spike_limit_{unit}: {spike} has no limit to be below of: set limit_{unit}")
            if spike and spike >= limit:
                raise ValueError(
                    f"spike_limit_{unit}: {spike} leaves no soft limit: it must be less than limit_{unit}: {limit}"
                )
        return self


@dataclass(frozen=True, slots=True)
class Limits:
    """Hold the limits in bytes; `problem` says why they are not those that were asked for."""

    hard: int
    soft: int
    problem: str = ""


def limits(config: MemoryLimiterConfig, available: Available) -> Limits:
    """Return the limits for so much memory; one of MiB that is more than there is gives way to 80 % of that."""
    share = available.size * SHARE // 100
    if config.limit_mib:
        hard, spike = config.limit_mib * MIB, config.spike_limit_mib * MIB
        if hard < available.size:
            return _limits(hard, spike)
        problem = (
            f"limit_mib: {config.limit_mib} is not below the {available.size // MIB} MiB of {available.whose}, and would limit "
            f"nothing: the limit is {share // MIB} MiB"
        )
        return _limits(share, min(spike, share // 2), problem)
    if config.limit_percentage:
        percent = available.size // 100
        return _limits(config.limit_percentage * percent, config.spike_limit_percentage * percent)
    return _limits(min(DEFAULT_LIMIT_MIB * MIB, share), 0)


def _limits(hard: int, spike: int, problem: str = "") -> Limits:
    return Limits(hard, hard - (spike or hard * SPIKE_SHARE // 100), problem)
