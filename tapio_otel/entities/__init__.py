"""What a kernel or systemd name stands for: cgroups, processes and units turned into entities with their lineage.

The kernel says "cgroup 8412", systemd says "cri-containerd-….scope"; an `EntityMapper` says which container, pod or unit it is.
Lookups are dictionary hits where anything is known already; nothing here talks to a network.
"""

from tapio_otel.entities.cgroup_path import Workload as Workload
from tapio_otel.entities.cgroup_path import parse_cgroup_path as parse_cgroup_path
from tapio_otel.entities.mapper import EntityMapper as EntityMapper
from tapio_otel.entities.mapper import FirstKnown as FirstKnown
from tapio_otel.entities.mapper import WorkloadNames as WorkloadNames
