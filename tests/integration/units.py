"""Units for a systemd of the test's own, one for each way in which a unit can begin, end and fail.

`$$$$` is the shell's own pid: systemd makes `$$` of it. All of them are in one systemd together, so no two may share a name.
"""

from __future__ import annotations

from typing import Final

SLEEP: Final = "[Service]\nExecStart=sleep 600\n"
ONESHOT: Final = "[Service]\nType=oneshot\nExecStart=true\n"
ONESHOT_INSTANCE: Final = "[Unit]\nCollectMode=inactive-or-failed\n" + ONESHOT


def _shell(script: str, settings: str = "", unit: str = "") -> str:
    """Return a service that runs a line of shell."""
    return f"[Unit]\n{unit}[Service]\n{settings}ExecStart=sh -c '{script}'\n"


UNITS: Final = {
    "mark@.service": ONESHOT_INSTANCE,
    # ends
    "plain.service": SLEEP,
    "exit.service": _shell("exit 7"),
    "signal.service": _shell("kill -KILL $$$$"),
    "core.service": _shell("kill -SEGV $$$$", "LimitCORE=infinity\nWorkingDirectory=/run/lab\n"),
    "watchdog.service": _shell(
        "systemd-notify --ready; exec sleep 600", "Type=notify\nNotifyAccess=all\nWatchdogSec=200ms\nTimeoutAbortSec=5s\n"
    ),
    "hungry.service": SLEEP,
    "waiting.service": "[Service]\nType=notify\nExecStart=sleep 600\n",
    "slow.service": "[Service]\nType=notify\nTimeoutStartSec=200ms\nExecStart=sleep 600\n",
    "stubborn.service": _shell('trap "" TERM; touch /run/lab/trapped; while :; do sleep 0.05; done', "TimeoutStopSec=200ms\n"),
    "nowhere.service": "[Service]\nExecStart=/nonexistent/program\n",
    # control processes
    "pre.service": "[Service]\nExecStartPre=sh -c 'exit 9'\nExecStart=sleep 600\n",
    "presignal.service": "[Service]\nExecStartPre=sh -c 'kill -KILL $$$$'\nExecStart=sleep 600\n",
    "post.service": "[Service]\nExecStart=sleep 600\nExecStartPost=sh -c 'exit 11'\n",
    "stop.service": "[Service]\nExecStart=sleep 600\nExecStop=sh -c 'exit 13'\n",
    "stoppost.service": "[Service]\nExecStart=sleep 600\nExecStopPost=sh -c 'exit 12'\n",
    "stopsignal.service": "[Service]\nExecStart=sleep 600\nExecStopPost=sh -c 'kill -KILL $$$$'\n",
    "slowstop.service": "[Service]\nTimeoutStopSec=200ms\nExecStart=sleep 600\nExecStop=sleep 600\n",
    "forking.service": "[Service]\nType=forking\nExecStart=sh -c 'exit 4'\n",
    "condition.service": "[Service]\nExecCondition=sh -c 'exit 255'\nExecStart=sleep 600\n",
    "prerestart.service": _shell("sleep 600", "ExecStartPre=sh -c 'exit 9'\nRestart=on-failure\nRestartSec=1min\n"),
    # restarts
    "again.service": "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=sleep 600\nRestart=always\nRestartSec=20ms\n",
    "limit.service": _shell("exit 3", "Restart=always\nRestartSec=10ms\n", "StartLimitIntervalSec=60\nStartLimitBurst=3\n"),
    "clean.service": _shell("exit 0", "Restart=always\nRestartSec=10ms\n", "StartLimitIntervalSec=60\nStartLimitBurst=3\n"),
    # kinds of service
    "once.service": ONESHOT,
    "unsuccessful.service": "[Service]\nType=oneshot\nExecStart=false\n",
    "remain.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n",
    "reload.service": "[Service]\nExecStart=sleep 600\nExecReload=true\n",
    "oncemore.service": "[Unit]\nStartLimitIntervalSec=60\nStartLimitBurst=4\n[Service]\nType=oneshot\nExecStart=false\n"
    "Restart=on-failure\nRestartSec=20ms\n",
    **{f"short{number}.service": ONESHOT for number in range(20)},
    # other units
    "tick.timer": "[Timer]\nOnActiveSec=10ms\nAccuracySec=1ms\nUnit=ticked.service\n",
    "ticked.service": ONESHOT,
    "door.socket": "[Socket]\nListenStream=/run/lab/door\n",
    "door.service": SLEEP,
    "run-disk.mount": "[Mount]\nWhat=tmpfs\nWhere=/run/disk\nType=tmpfs\n",
    "group.slice": "[Slice]\n",
    "member.service": "[Service]\nSlice=group.slice\nExecStart=sleep 600\n",
    # never begun
    "needy.service": "[Unit]\nRequires=unsuccessful.service\nAfter=unsuccessful.service\n" + SLEEP,
    "lonely.service": "[Unit]\nRequires=missing.service\nAfter=missing.service\n" + SLEEP,
    "unmet.service": "[Unit]\nConditionPathExists=/nonexistent\n" + SLEEP,
    # in numbers
    "many@.service": ONESHOT,
    "flap.service": "[Unit]\nStartLimitIntervalSec=0\n" + SLEEP,
}
