"""The processes of the benchmark of kernel events, each small and alone: what loads probes, what waits, what sends.

    python -m bench.ebpf_subjects load          opens all five probes; prints what that took
    python -m bench.ebpf_subjects watch         prints `ready`, then the nanoseconds from each OOM kill to its observation
    python -m bench.ebpf_subjects send ADDRESS PORT SECONDS   sends datagrams as fast as it can; prints how many

All print JSON lines.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import time
from pathlib import Path

WARM_UP = 0.3  # seconds
PAYLOAD = bytes(64)
SENT_BETWEEN_LOOKS = 64  # at the clock
PAGE_KB = 4


def load() -> None:
    """Open every probe through libbpf; print seconds, resident kB added and what the kernel holds for it."""
    from tapio_otel.receivers.ebpf.config import EbpfConfig
    from tapio_otel.receivers.ebpf.feed import ProbeName

    config, before, started = EbpfConfig(), resident_kb(), time.perf_counter()
    from tapio_otel.receivers.ebpf.libbpf_feeds import open_libbpf

    opened, seconds = [], {"import": time.perf_counter() - started}
    try:
        for name in ProbeName:
            begun = time.perf_counter()
            opened.append(open_libbpf(name, config))
            seconds[name.value] = time.perf_counter() - begun
        total = time.perf_counter() - started
        said = {"seconds": total, "parts": seconds, "resident_kb": resident_kb() - before, "kernel_kb": kernel_kb()}
    finally:
        for feed in opened:
            feed.close()
    print(json.dumps(said))


def resident_kb() -> int:
    """Return this process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_KB


def kernel_kb() -> int:
    """Return what the kernel counts for the programs and maps that this process holds."""
    total = 0
    for entry in Path("/proc/self/fdinfo").iterdir():
        try:
            lines = entry.read_text().splitlines()
        except FileNotFoundError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("memlock:"))
    return total // 1024


async def watch() -> None:
    """Print for each OOM kill, until SIGTERM, how long after the kernel's time stamp its observation is in hand."""
    from tapio_otel.receivers.ebpf.config import EbpfConfig
    from tapio_otel.receivers.ebpf.feed import ProbeName
    from tapio_otel.receivers.ebpf.libbpf_feeds import open_libbpf

    feed = open_libbpf(ProbeName.OOM, EbpfConfig())
    woken, loop, ended = asyncio.Event(), asyncio.get_running_loop(), False

    def end() -> None:
        nonlocal ended
        ended = True
        woken.set()

    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        descriptor = feed.fileno()
        assert descriptor is not None
        loop.add_reader(descriptor, woken.set)
        print(json.dumps("ready"), flush=True)
        while not ended:
            await woken.wait()
            woken.clear()
            seen = feed.read()
            now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            for kill in seen:
                print(json.dumps({"pid": getattr(kill, "pid", None), "latency_ns": now - kill.time_ns}))
        loop.remove_reader(descriptor)
    finally:
        feed.close()


def send(address: str, port: int, seconds: float) -> None:
    """Send datagrams one by one, as a program would; print how many, in how much time and CPU time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((address, port))
        burst(sender, WARM_UP)
        cpu, started = time.process_time(), time.perf_counter()
        sent = burst(sender, seconds)
        said = {"sent": sent, "seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    print(json.dumps(said))


def burst(sender: socket.socket, seconds: float) -> int:
    """Send for so long and return how many."""
    until, sent, send_one = time.perf_counter() + seconds, 0, sender.send
    while time.perf_counter() < until:
        for _ in range(SENT_BETWEEN_LOOKS):
            send_one(PAYLOAD)
        sent += SENT_BETWEEN_LOOKS
    return sent


def main() -> None:
    """Run the subject that the first argument names."""
    name, *arguments = sys.argv[1:]
    if name == "load":
        load()
    elif name == "watch":
        asyncio.run(watch())
    else:
        send(arguments[0], int(arguments[1]), float(arguments[2]))


if __name__ == "__main__":
    main()
