"""Classes of facts: what happened, whoever tells it.

The kernel's `oom_kill`, systemd's `failed (oom-kill)` and Kubernetes' `OOMKilled` are three types of event and one class of
fact, `oom`. The table below says which types belong to a class; where a type alone does not tell, a test of attributes does.
An event may belong to several classes. How events become one fact is `facts`' business, by what `fact_class` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tapio_otel.correlation.class_tests import (
    FAILED,
    GOING,
    IMAGE_REASONS,
    OOM_END,
    OOM_RESULT,
    OVERDUE,
    RESTARTING,
    TO_BE_RESTARTED,
    UNANSWERED,
    always,
    both,
    condition_is,
    crash_loops,
    either,
    ended_badly,
    failed_to_pull,
    lost_ready,
    not_ready,
    unless,
    value_is,
)
from tapio_otel.correlation.fact_class import FactClass
from tapio_otel.event import UnifiedEvent

_NODE: Final = ("node",)
_HAD_ENDED: Final = value_is("previous_sub_state", *RESTARTING)
"""A unit that waits to be restarted had ended before: that it is not restarted after all is no further end."""


def _by_its_manager(event: UnifiedEvent) -> bool:
    """Tell whether a kill is told about its victim: systemd-oomd's own line is systemd-oomd's, and names a cgroup only."""
    return event.entity.name != "systemd-oomd.service"


def _cannot_log(event: UnifiedEvent) -> bool:
    """Tell whether XFS says that it cannot write its log, which comes before it shuts itself down for that."""
    return str(event.get("reason", "")).startswith(("log I/O error -", "xfs_log_force: error"))


_TABLE: Final = (
    FactClass(
        "oom",
        "The kernel, or a daemon in its place, killed a process because memory ran out.",
        {
            **always("oom_kill", "container_oom", "unit_oom_kill"),
            "oomd_kill": _by_its_manager,
            **dict.fromkeys(("service_crashed", "unit_failed"), OOM_RESULT),
            "service_state": both(GOING, OOM_RESULT),
            "pod_state": both(value_is("change", "terminated"), OOM_END),
            "container_restart": OOM_END,
            "k8s_event": value_is("reason", "OOMKilling", "OOMKilled", "SystemOOM"),
        },
    ),
    FactClass(
        "memory_low",
        "A program could not get memory.",
        always(
            "app_out_of_memory",
            "database_out_of_memory",
            "page_allocation_failure",
            "memory_allocation_failed",
            "oom_without_victim",
        ),
    ),
    FactClass(
        "unit_failed",
        "A unit of systemd became failed.",
        {
            **always("unit_failed", "unit_start_failed"),
            **dict.fromkeys(("service_state", "service_crashed", "restart_limit_hit"), FAILED),
        },
    ),
    FactClass(
        "unit_restarted",
        "systemd is about to restart a unit, or has done so.",
        {**always("service_restart"), "service_crashed": TO_BE_RESTARTED},
        follows=True,
    ),
    FactClass(
        "unit_stopped",
        "A unit of systemd ended, well or not.",
        {
            **always("unit_failed"),
            "service_state": either(both(value_is("current_state", "inactive", "failed"), unless(_HAD_ENDED)), TO_BE_RESTARTED),
            "service_crashed": None,
        },
    ),
    FactClass("unit_started", "A unit of systemd is up.", {"service_state": value_is("current_state", "active")}),
    FactClass("container_restarted", "A container was started again.", always("container_restart"), follows=True),
    FactClass(
        "crashed",
        "A service, process or container ended by itself, and not well.",
        {
            **always(
                "service_crashed", "service_process_killed", "process_crashed", "segfault", "fatal_signal", "process_trap"
            ),
            **always("app_panic", "database_crashed", "http_worker_crashed", "container_crash_loop"),
            "unit_failed": None,
            "service_state": FAILED,
            "container_exited": either(unless(value_is("exit_code", 0, None)), value_is("exit_code", None)),
            "pod_state": either(ended_badly, value_is("container_reason", "CrashLoopBackOff")),
            "container_restart": ended_badly,
            "k8s_event": crash_loops,
        },
    ),
    FactClass(
        "connection_failed",
        "Something could not be reached.",
        {
            **always("connection_failed", "database_unavailable", "backend_down", "api_unreachable", "etcd_peer_unreachable"),
            **dict.fromkeys(("tcp_reset", "tcp_retransmit"), UNANSWERED),
        },
        differs=("target", "pid", "container", "invocation"),
        repeats=False,
    ),
    FactClass(
        "connection_lost",
        "An open connection broke.",
        {**always("database_connection_closed"), "tcp_reset": unless(UNANSWERED)},
        repeats=False,
    ),
    FactClass(
        "dns_failed",
        "A name could not be resolved.",
        always("dns_resolution_failed", "dns_server_failed", "dns_degraded", "dns_server_overloaded"),
        differs=("host", "pid", "container"),
        repeats=False,
    ),
    FactClass(
        "probe_failed",
        "A container did not pass its liveness, readiness or startup probe.",
        {**always("probe_failed", "container_unhealthy"), "k8s_event": value_is("reason", "Unhealthy", "ProbeWarning")},
        repeats=False,
    ),
    FactClass(
        "evicted",
        "A pod was evicted from its node.",
        {
            **always("pod_evicted"),
            "k8s_event": value_is("reason", "Evicted", "TaintManagerEviction"),
            "pod_state": value_is("status_reason", "Evicted"),
        },
    ),
    FactClass(
        "disk_full",
        "A disk, volume or quota is full.",
        {
            **always("disk_full", "thin_pool_full", "disk_quota_exceeded", "quota_exceeded", "etcd_space_exceeded"),
            "k8s_event": value_is("reason", "FreeDiskSpaceFailed"),
        },
        repeats=False,
    ),
    FactClass("disk_low", "A disk is nearly full.", always("disk_space_low", "thin_pool_low", "lvm_space_missing")),
    FactClass(
        "disk_error",
        "A disk, or the way to it, fails.",
        {
            **always(
                "disk_io_error",
                "disk_medium_error",
                "disk_offline",
                "disk_write_lost",
                "nvme_timeout",
                "nvme_controller_failed",
                "ata_error",
                "ata_device_lost",
                "ata_link_reset",
                "raid_disk_failed",
                "raid_array_failed",
                "scsi_command_failed",
                "multipath_all_paths_lost",
                "iscsi_connection_error",
            ),
            "input_output_error": unless(value_is("device", None)),
        },
        ranks=("device", "mount", "node"),
        differs=("device",),
    ),
    FactClass(
        "filesystem_error",
        "A file system is damaged.",
        {**always("filesystem_error", "journal_aborted"), "filesystem_shutdown": _cannot_log},
        ranks=("device", "mount", "node"),
        differs=("device",),
    ),
    FactClass(
        "filesystem_readonly",
        "A file system can no longer be written: it was made read-only, or has shut itself down.",
        {
            **always("filesystem_readonly"),
            "filesystem_shutdown": unless(_cannot_log),
            "node_condition": condition_is("ReadonlyFilesystem"),
            "k8s_event": value_is("reason", "ReadonlyFilesystem"),
        },
        ranks=("device", "mount", "node"),
        differs=("device",),
    ),
    FactClass(
        "write_failed",
        "A program could not write: no space, read-only, damaged.",
        always(
            "disk_full",
            "database_storage_failed",
            "journal_write_failed",
            "filesystem_readonly",
            "input_output_error",
            "log_rotation_failed",
            "backup_failed",
        ),
        repeats=False,
    ),
    FactClass(
        "cpu_throttled", "A workload had to wait because its CPU quota was used up.", always("cpu_throttle"), repeats=False
    ),
    FactClass("packet_drop", "The kernel dropped packets.", always("network_drop", "firewall_drop"), repeats=False),
    FactClass("retransmitted", "Segments had to be sent again.", always("tcp_retransmit"), repeats=False),
    FactClass(
        "node_not_ready",
        "A node is not ready, or nothing is heard of it.",
        {
            "node_condition": not_ready,
            "k8s_event": value_is("reason", "NodeNotReady", "NodeStatusUnknown", "KubeletNotReady"),
        },
        ranks=_NODE,
        differs=(),
    ),
    FactClass(
        "node_pressure",
        "A node lacks memory, disk or process ids.",
        {
            **always("node_pressure"),
            "node_condition": condition_is("MemoryPressure", "DiskPressure", "PIDPressure"),
            "k8s_event": value_is(
                "reason", "NodeHasDiskPressure", "NodeHasInsufficientMemory", "NodeHasInsufficientPID", "EvictionThresholdMet"
            ),
        },
        ranks=_NODE,
        differs=("condition",),
    ),
    FactClass(
        "pod_not_ready",
        "A pod is no longer ready, or is lost.",
        {"pod_state": lost_ready, "k8s_event": value_is("reason", "NodeLost")},
    ),
    FactClass(
        "image_pull_failed",
        "An image could not be pulled.",
        {**always("image_pull_failed"), "pod_state": value_is("container_reason", *IMAGE_REASONS), "k8s_event": failed_to_pull},
        differs=("container_name", "image"),
    ),
    FactClass(
        "restart_limit",
        "Something is not started again, as it failed too often.",
        {**always("restart_limit_hit"), "k8s_event": value_is("reason", "BackoffLimitExceeded")},
    ),
    FactClass(
        "dependency_failed",
        "A unit was not started because another one failed.",
        {
            **always("dependency_failed"),
            "service_state": value_is("job_result", "dependency"),
            "job_failed": value_is("job_result", "dependency"),
        },
    ),
    FactClass(
        "config_changed",
        "A configuration was changed, or is read again.",
        {
            **always("files_changed"),
            "service_state": value_is("current_state", "reloading"),
        },
        repeats=False,
    ),
    FactClass(
        "config_invalid",
        "A configuration cannot be used.",
        always("configuration_invalid", "unit_file_invalid", "database_misconfigured"),
        repeats=False,
    ),
    FactClass(
        "deployed",
        "A new version was rolled out.",
        {"k8s_event": value_is("reason", "ScalingReplicaSet")},
        ranks=("owner", "unit", "service"),
        differs=(),
    ),
    FactClass(
        "clock_jump",
        "A clock was set, jumped, or is far off.",
        always("clock_jump", "clock_changed", "clock_offset", "clocksource_unstable"),
        ranks=_NODE,
        differs=(),
    ),
    FactClass(
        "conntrack_full", "The table of tracked connections is full.", always("conntrack_table_full"), ranks=_NODE, differs=()
    ),
    FactClass(
        "certificate_expired",
        "A certificate is not valid at this time.",
        always("certificate_expired", "certificate_not_yet_valid"),
        repeats=False,
    ),
    FactClass(
        "tls_failed",
        "A TLS connection could not be made.",
        always(
            "tls_handshake_failed",
            "certificate_expired",
            "certificate_not_yet_valid",
            "certificate_untrusted",
            "certificate_unusable",
        ),
        differs=("target", "pid", "container"),
        repeats=False,
    ),
    FactClass(
        "kernel_hang",
        "The kernel, or a task in it, makes no progress.",
        always("hung_task", "soft_lockup", "hard_lockup", "rcu_stall", "workqueue_lockup", "nmi_unexplained"),
        ranks=_NODE,
        differs=("pid",),
    ),
    FactClass(
        "timed_out",
        "Something took too long.",
        {
            **dict.fromkeys(("service_state", "service_crashed", "unit_failed", "job_failed"), OVERDUE),
            **always(
                "service_timeout",
                "service_watchdog_timeout",
                "http_worker_timeout",
                "container_runtime_timeout",
                "database_lock_timeout",
                "nvme_timeout",
                "device_timeout",
                "etcd_slow",
                "database_slow",
            ),
        },
        repeats=False,
    ),
    FactClass(
        "http_errors", "A server answered with errors.", always("http_server_error", "http_workers_exhausted"), repeats=False
    ),
    FactClass(
        "app_error",
        "A program met an error that it did not expect.",
        always("unhandled_exception", "app_panic", "http_server_error", "database_query_failed"),
        repeats=False,
    ),
    FactClass(
        "scheduling_failed",
        "A pod could not be placed on a node.",
        {**always("scheduling_failed"), "k8s_event": value_is("reason", "FailedScheduling")},
        differs=(),
    ),
    FactClass(
        "volume_failed",
        "A volume could not be attached or mounted.",
        {
            **always("volume_mount_failed", "mount_failed"),
            "k8s_event": value_is("reason", "FailedMount", "FailedAttachVolume", "FailedMapVolume"),
        },
        repeats=False,
    ),
    FactClass(
        "link_down",
        "A network link went down.",
        always("link_down", "carrier_lost", "bond_member_down"),
        ranks=("interface", "node"),
        differs=("interface",),
    ),
)


CLASSES: Final[Mapping[str, FactClass]] = {one.name: one for one in _TABLE}
"""Every class by its name."""
