"""How bad what Kubernetes gives as a reason is.

One table for all: the reasons of events, of containers that wait or have ended, of pods, and of nodes' conditions. What is not
in it is a warning in an event of type `Warning` and info otherwise. The table is documented in docs/kubernetes-events.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tapio_otel.event import Severity

_BY_SEVERITY: Final[Mapping[Severity, tuple[str, ...]]] = {
    Severity.CRITICAL: (
        *("OOMKilling", "OOMKilled", "SystemOOM", "ContainerStatusUnknown"),
        *("NodeNotReady", "NodeStatusUnknown", "KubeletNotReady", "Rebooted", "KernelDeadlock", "ReadonlyFilesystem"),
    ),
    Severity.ERROR: (
        *("CrashLoopBackOff", "BackOff", "Error", "StartError", "ContainerCannotRun", "DeadlineExceeded", "PodFailed"),
        *("Failed", "FailedCreatePodSandBox", "FailedPodSandBoxStatus", "FailedPostStartHook", "PostStartHookError"),
        *("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ErrImageInspect"),
        *("ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed", "InspectFailed"),
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError"),
        *("PreStartHookError", "FailedMount", "FailedAttachVolume", "FailedMapVolume", "VolumeResizeFailed"),
        *("FailedCreate", "FailedBinding", "ProvisioningFailed", "BackoffLimitExceeded", "ProgressDeadlineExceeded"),
        *("Evicted", "Preempted", "NodeLost", "UnexpectedAdmissionError", "OutOfcpu", "OutOfmemory", "OutOfpods"),
        *("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable", "EvictionThresholdMet"),
        *("FreeDiskSpaceFailed", "ImageGCFailed", "ContainerGCFailed", "InvalidDiskCapacity", "KubeletSetupFailed"),
    ),
    Severity.WARNING: (
        *("FailedScheduling", "Unhealthy", "ProbeWarning", "NodeNotSchedulable", "TaintManagerEviction", "Draining"),
        *("FailedKillPod", "FailedSync", "FailedDelete", "FailedPreStopHook", "ExceededGracePeriod", "NetworkNotReady"),
        *("NodeHasDiskPressure", "NodeHasInsufficientMemory", "NodeHasInsufficientPID", "NodeShutdown", "Terminated"),
        *("NodeAffinity", "DNSConfigForming", "FailedGetResourceMetric", "FailedComputeMetricsReplicas", "Unschedulable"),
        *("FailedToUpdateEndpoint", "FailedToUpdateEndpointSlices", "FailedToCreateEndpoint", "MissingClusterDNS"),
        *("NodeRemoved", "DisruptionTarget"),
    ),
    Severity.NOTICE: (
        *("Killing", "Preempting", "RemovingNode", "DeletingNode", "ScalingReplicaSet", "SuccessfulRescale"),
        *("NodeSchedulable", "NodeReady", "Starting", "SandboxChanged", "LeaderElection"),
    ),
}
SEVERITIES: Final[Mapping[str, Severity]] = {reason: severity for severity, row in _BY_SEVERITY.items() for reason in row}


class Severities:
    """Know how bad every reason is; `own` of the configuration come before the table."""

    def __init__(self, own: Mapping[str, Severity] | None = None) -> None:
        self._known = {**SEVERITIES, **(own or {})}

    def of(self, *reasons: str, otherwise: Severity = Severity.INFO) -> Severity:
        """Return the worst of the reasons that are known, `otherwise` when none is."""
        known = self._known
        found = [known[reason] for reason in reasons if reason in known]
        return max(found) if found else otherwise
