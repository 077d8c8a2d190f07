"""BCC, the second loader: its programs on this kernel, and what it says where it cannot be used."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.receivers.ebpf import bcc_library, tracepoints
from tapio_otel.receivers.ebpf.bcc_feeds import open_bcc
from tapio_otel.receivers.ebpf.bcc_programs import drop_program, flow_program, has_socket_addresses, oom_program
from tapio_otel.receivers.ebpf.clock import boottime_ns
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.feed import ProbeName, ProbeUnavailable
from tapio_otel.receivers.ebpf.tracepoints import Argument, parse_format
from tests.kernel import EAT_MEMORY, Cgroup, NetworkPair, run_in
from tests.receivers.ebpf import bcc_headers
from tests.receivers.ebpf.bcc_child import IN_NAMESPACE, PROJECT, BccChild, bcc_child, require_bcc

FIREWALL = "table inet t {{ chain c {{ type filter hook input priority 0; {what} drop; }}\n}}\n"

COMMON = """
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

"""
OLD_VICTIM = f"""name: mark_victim
format:{COMMON}	field:int pid;	offset:8;	size:4;	signed:1;
"""
VICTIM = f"""name: mark_victim
ID: 609
format:{COMMON}	field:int pid;	offset:8;	size:4;	signed:1;
	field:__data_loc char[] comm;	offset:12;	size:4;	signed:0;
	field:unsigned long total_vm;	offset:16;	size:8;	signed:0;
	field:uid_t uid;	offset:48;	size:4;	signed:0;
	field:unsigned long pgtables;	offset:56;	size:8;	signed:0;
	field:short oom_score_adj;	offset:64;	size:2;	signed:1;

print fmt: "pid=%d comm=%s", REC->pid, __get_str(comm)
"""
OLD_DROP = f"""name: kfree_skb
format:{COMMON}	field:void * skbaddr;	offset:8;	size:8;	signed:0;
	field:void * location;	offset:16;	size:8;	signed:0;
	field:unsigned short protocol;	offset:24;	size:2;	signed:0;
"""
DROP = f"""name: kfree_skb
format:{COMMON}	field:void * location;	offset:16;	size:8;	signed:0;
	field:unsigned short protocol;	offset:32;	size:2;	signed:0;
	field:enum skb_drop_reason reason;	offset:36;	size:4;	signed:0;

print fmt: "protocol=%u reason: %s", REC->protocol, __print_symbolic(REC->reason, {{ 2, "NOT_SPECIFIED" }}, \
{{ 0x3, "NO_SOCKET" }})
"""
RETRANSMIT = f"""name: tcp_retransmit_skb
format:{COMMON}	field:int state;	offset:24;	size:4;	signed:1;
	field:__u16 sport;	offset:28;	size:2;	signed:0;
	field:__u16 dport;	offset:30;	size:2;	signed:0;
	field:__u8 saddr[4];	offset:34;	size:4;	signed:0;
	field:__u8 saddr_v6[16];	offset:42;	size:16;	signed:0;
	field:__u8 daddr_v6[16];	offset:58;	size:16;	signed:0;
"""
RESET = f"""name: tcp_send_reset
format:{COMMON}	field:int state;	offset:24;	size:4;	signed:1;
	field:enum sk_rst_reason reason;	offset:28;	size:4;	signed:0;
	field:__u8 saddr[28];	offset:32;	size:28;	signed:0;
	field:__u8 daddr[28];	offset:60;	size:28;	signed:0;

print fmt: "state=%s reason=%s", __print_symbolic(REC->state, {{ TCP_CLOSE, "TCP_CLOSE" }}), \
__print_symbolic(REC->reason, {{ 1, "NO_SOCKET" }})
"""


def test_a_format_file_tells_arguments_and_names():
    """Without those that every tracepoint has; names of numbers only where the numbers are told."""
    found = parse_format(VICTIM)
    assert list(found.arguments) == ["pid", "comm", "total_vm", "uid", "pgtables", "oom_score_adj"]
    assert found.arguments["oom_score_adj"] == Argument(64, 2, is_signed=True)
    assert found.arguments["comm"].is_text
    assert parse_format(DROP).symbols == {"reason": {2: "NOT_SPECIFIED", 3: "NO_SOCKET"}}
    assert parse_format(RESET).symbols["reason"] == {1: "NO_SOCKET"}
    assert parse_format(RESET).arguments["saddr"] == Argument(32, 28, is_array=True)


def test_a_struct_reads_arguments_where_they_stand():
    """What is not read becomes padding, whichever order is asked for."""
    text = parse_format(RETRANSMIT).struct("arguments", ["saddr_v6", "sport"])
    assert text == "struct arguments { u8 before_sport[28]; u16 sport; u8 before_saddr_v6[12]; u8 saddr_v6[16]; };"


def test_old_kernels_tell_less_of_a_victim():
    """Before Linux 6.9 there is a pid and nothing else."""
    assert "args->uid" not in oom_program(parse_format(OLD_VICTIM))
    text = oom_program(parse_format(VICTIM))
    assert "victim.page_tables = args->pgtables;" in text
    assert "victim.comm" in text
    with pytest.raises(KeyError, match="pid"):
        oom_program(parse_format(DROP))


def test_drops_are_counted_by_place_where_there_is_no_reason():
    """Reasons came with Linux 5.17; what is ignored is not even counted."""
    assert "what.location = args->location;" in drop_program(parse_format(OLD_DROP), [2])
    text = drop_program(parse_format(DROP), [2])
    assert "what.reason = args->reason;" in text
    assert "if (args->reason == 2) return 0;" in text
    assert "args->reason" not in drop_program(parse_format(OLD_DROP), [2])


def test_flows_are_read_in_either_form_of_address():
    """Mapped IPv6 addresses, or socket addresses with family and port."""
    assert not has_socket_addresses(parse_format(RETRANSMIT))
    assert has_socket_addresses(parse_format(RESET))
    text = flow_program({"tcp_send_reset": parse_format(RESET), "tcp_receive_reset": parse_format(RETRANSMIT)})
    assert "flow.direction = 1;" in text
    with pytest.raises(KeyError, match="saddr_v6"):
        flow_program({"tcp_receive_reset": parse_format(DROP)})


@given(
    st.text() | st.sampled_from([VICTIM, DROP, RESET]).flatmap(lambda text: st.integers(0, len(text)).map(lambda at: text[:at]))
)
def test_any_text_is_read_without_error(text):
    """Whatever a future kernel writes."""
    found = parse_format(text)
    assert found.struct("any", list(found.arguments)).startswith("struct any {")


@pytest.mark.parametrize(
    ("probe", "options", "cause"),
    [
        (ProbeName.CPU_THROTTLE, {}, "cpu.stat"),
        (ProbeName.NET_DROP, {"net_drop": {"network_namespaces": ["host"]}}, "the option network_namespaces is set"),
        (ProbeName.TCP_RESET, {"tcp_reset": {"cgroups": ["/a"]}}, "the option cgroups is set"),
    ],
)
def test_what_arguments_cannot_tell_is_refused(probe, options, cause):
    """Silence, or all packets in place of some, would be wrong."""
    with pytest.raises(ProbeUnavailable, match=cause) as refused:
        open_bcc(probe, EbpfConfig.model_validate({"probes": options}))
    assert refused.value.remedy


def test_throttling_says_which_option_leaves_it_out():
    """Whoever requires programs by BCC has to do without this probe."""
    with pytest.raises(ProbeUnavailable) as refused:
        open_bcc(ProbeName.CPU_THROTTLE, EbpfConfig(loader="bcc", required=True))
    assert "probes.cpu_throttle.enabled: false" in refused.value.remedy


@pytest.mark.parametrize("lacking", ["tracefs", "headers"])
def test_what_is_lacking_is_known_before_bcc_is_loaded(monkeypatch, tmp_path, lacking):
    """It would take some 60 MB to say the same."""
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc" / "__init__.py").write_text("raise OSError('loaded')\n")
    (tmp_path / "tracing" / "events").mkdir(parents=True)
    monkeypatch.setattr(bcc_library, "DIST_PACKAGES", tmp_path)
    monkeypatch.setattr(bcc_library, "KERNEL_HEADERS", tmp_path / "kheaders")
    monkeypatch.setattr(tracepoints, "TRACEFS", (tmp_path / ("tracing" if lacking == "headers" else "none"),))
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(tmp_path))
    with pytest.raises(ProbeUnavailable, match=lacking):
        open_bcc(ProbeName.OOM, EbpfConfig())


def test_without_bcc_the_packages_are_named(monkeypatch, tmp_path):
    """One line of cause, one of remedy."""
    monkeypatch.setattr(bcc_library, "DIST_PACKAGES", tmp_path)
    with pytest.raises(ProbeUnavailable, match="BCC is not installed") as refused:
        bcc_library.load_bcc()
    assert "python3-bpfcc" in refused.value.remedy
    assert f"linux-headers-{os.uname().release}" in refused.value.remedy


def test_a_broken_bcc_leaves_nothing_behind(monkeypatch, tmp_path):
    """Its shared library may be missing, for one."""
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc" / "__init__.py").write_text("from . import table\nraise OSError('libbcc.so.0: cannot open')\n")
    (tmp_path / "bcc" / "table.py").write_text("")
    monkeypatch.setattr(bcc_library, "DIST_PACKAGES", tmp_path)
    with pytest.raises(ProbeUnavailable, match="BCC cannot be loaded: libbcc") as refused:
        bcc_library.load_bcc()
    assert "Reinstall" in refused.value.remedy
    assert not [name for name in sys.modules if name.startswith(bcc_library.OWN_NAME)]
    assert str(tmp_path) not in sys.path


def test_without_headers_their_package_is_named(monkeypatch, tmp_path):
    """The one for the running kernel; a place that was told and has none is named too."""
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(tmp_path))
    if Path("/sys/kernel/kheaders.tar.xz").exists():
        bcc_library.check_headers()
        return
    with pytest.raises(ProbeUnavailable, match="BCC_KERNEL_SOURCE") as refused:
        bcc_library.check_headers()
    assert f"linux-headers-{os.uname().release}" in refused.value.remedy
    (tmp_path / "include" / "linux").mkdir(parents=True)
    bcc_library.check_headers()


def test_tracefs_that_is_not_mounted_is_no_tracefs(monkeypatch, tmp_path):
    """The kernel has an empty directory for it."""
    monkeypatch.setattr(tracepoints, "TRACEFS", (tmp_path / "debug", tmp_path / "tracing"))
    assert tracepoints.mounted_tracefs() is None
    (tmp_path / "tracing" / "events" / "oom" / "mark_victim").mkdir(parents=True)
    assert tracepoints.mounted_tracefs() == tmp_path / "tracing"
    assert tracepoints.read_tracepoint(tmp_path / "tracing", "oom", "mark_victim") is None
    (tmp_path / "tracing" / "events" / "oom" / "mark_victim" / "format").write_text(VICTIM)
    found = tracepoints.read_tracepoint(tmp_path / "tracing", "oom", "mark_victim")
    assert found == parse_format(VICTIM)


def test_two_trees_of_headers_are_merged(tmp_path):
    """Directories that both have are merged, all else is linked; the first tree's file is taken."""
    one, two = tmp_path / "one", tmp_path / "two"
    (one / "include" / "generated").mkdir(parents=True)
    (two / "include" / "linux").mkdir(parents=True)
    (one / "Makefile").write_text("one")
    (two / "Makefile").write_text("two")
    merged = bcc_headers.merge([one, two], tmp_path / "merged")
    assert sorted(entry.name for entry in (merged / "include").iterdir()) == ["generated", "linux"]
    assert (merged / "Makefile").read_text() == "one"


def test_an_oom_kill_tells_victim_sizes_and_unit(tmp_path):
    """Woken by the kernel; the process is still there when /proc is asked."""
    require_bcc()
    with (
        bcc_child(ProbeName.OOM, tmp_path) as child,
        Cgroup("memory", memory_limit=20 << 20) as memory,
        Cgroup("unified", "/system.slice/tapio-test-bcc.service") as unit,
    ):
        assert child.opened == ""
        before = boottime_ns()
        pid, _ = run_in([memory, unit], EAT_MEMORY)
        found: list[dict] = []
        until = time.monotonic() + 20
        while not (mine := [one for one in found if one["pid"] == pid]) and time.monotonic() < until:
            found += child.ask("read")
            time.sleep(0.05)
    (victim,) = mine
    assert before < victim["time_ns"] < boottime_ns()
    assert (victim["trigger_pid"], victim["comm"]) == (pid, victim["trigger_comm"])
    assert (victim["scope"], victim["memory_limit"]) == ("", None)
    if victim["anon_rss"] is not None:  # since Linux 6.9
        assert 10 << 20 < victim["anon_rss"] < 20 << 20
        assert (victim["uid"], victim["oom_score_adj"]) == (0, 0)


def test_an_oom_kill_wakes_the_reader_who_finds_the_process(tmp_path):
    """Its cgroup and start are read within the milliseconds that it still has."""
    require_bcc()
    path = "/system.slice/tapio-test-bcc-wake.service"
    with bcc_child(ProbeName.OOM, tmp_path) as child, Cgroup("memory", memory_limit=20 << 20) as memory:
        for _ in range(5):  # other tests' victims wake it too, and a busy machine may come too late
            with Cgroup("unified", path) as unit:
                child.tell("await_one")
                pid, _ = run_in([memory, unit], EAT_MEMORY)
                found = {one["pid"]: one for one in child.answer()}
            if pid in found and found[pid]["cgroup"]["path"] == path:
                break
    assert found[pid]["cgroup"]["path"] == path
    assert 0 < found[pid]["start_boottime_ns"] <= found[pid]["time_ns"]


def send_to_nobody(address: str, count: int) -> None:
    """Send datagrams to a port where nobody listens."""
    for _ in range(count):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", (address, 9))


def unheard(child: BccChild, pair: NetworkPair, address: str, count: int) -> int:
    """Send datagrams to nobody and return how many drops for that the child counted; the kernel may take its time."""
    pair.inside("left", lambda: send_to_nobody(address, count))
    until, counted = time.monotonic() + 2, 0
    while counted < count and time.monotonic() < until:
        counted += sum(one["count"] for one in child.ask("read") if one["reason_name"] == "NO_SOCKET")
    return counted


def test_drops_are_counted_by_reason(tmp_path):
    """At least those that the test caused: the machine may drop packets of its own."""
    require_bcc()
    options = {"probes": {"net_drop": {"ignored_reasons": ["NETFILTER_DROP", "NO_SUCH"], "exclude_cgroups": ["/a"]}}}
    with bcc_child(ProbeName.NET_DROP, tmp_path, options) as child, NetworkPair() as pair:
        assert child.opened == ""
        notes = child.ask("notes")
        assert [one for one in notes if "exclude_cgroups" in one]
        assert "this kernel has no drop reason 'NO_SUCH'" in notes
        for address in (pair.ipv4["right"], pair.ipv6["right"]):
            until = time.monotonic() + 20
            while not unheard(child, pair, address, 1) and time.monotonic() < until:  # the two are not joined at once
                time.sleep(0.1)
            assert unheard(child, pair, address, 50) >= 50
        pair.run("right", "nft", "-f", "-", input=FIREWALL.format(what=""))
        pair.inside("left", lambda: send_to_nobody(pair.ipv4["right"], 50))
        assert "NETFILTER_DROP" not in {one["reason_name"] for one in child.ask("read")}
        assert child.ask("lost") == {"table_full": 0}


def test_drops_by_a_filter_are_counted_with_their_time(tmp_path):
    """The time is the last one's, since boot."""
    require_bcc()
    with bcc_child(ProbeName.NET_DROP, tmp_path) as child, NetworkPair() as pair:
        pair.run("right", "nft", "-f", "-", input=FIREWALL.format(what=""))
        found: list[dict] = []
        before, until = boottime_ns(), time.monotonic() + 20
        while not found and time.monotonic() < until:
            pair.inside("left", lambda: send_to_nobody(pair.ipv4["right"], 5))
            found = [one for one in child.ask("read") if one["reason_name"] == "NETFILTER_DROP"]
    assert len(found) == 1
    assert before < found[0]["time_ns"] < boottime_ns()


def connect(address: str, port: int) -> int:
    """Try to connect; returns the port it was tried from."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as client:
        client.bind((address.rpartition(":" if ":" in address else ".")[0] + (":1" if ":" in address else ".1"), 0))
        with pytest.raises(ConnectionRefusedError):
            client.connect((address, port))
        return int(client.getsockname()[1])


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_resets_tell_flow_direction_and_reason(tmp_path, family):
    """Source is the end that sent it; a refused connection is one of each direction."""
    require_bcc()
    with bcc_child(ProbeName.TCP_RESET, tmp_path) as child, NetworkPair() as pair:
        assert child.opened == ""
        ends = getattr(pair, family)
        port = pair.inside("left", lambda: connect(ends["right"], 4848))
        seen = {
            one["direction"]: one for one in child.ask("read") if port in {one["flow"]["src_port"], one["flow"]["dst_port"]}
        }
    left, right = {"ip": ends["left"], "port": port}, {"ip": ends["right"], "port": 4848}
    for direction, source, destination in (("sent", right, left), ("received", right, left)):
        flow = seen[direction]["flow"]
        assert flow["protocol"] == "tcp"
        assert (flow["src_ip"], flow["src_port"]) == (source["ip"], source["port"])
        assert (flow["dst_ip"], flow["dst_port"]) == (destination["ip"], destination["port"])
        assert seen[direction]["count"] == 1
    assert seen["sent"]["reason"] in {"NO_SOCKET", ""}  # told since Linux 6.10


def test_retransmits_tell_flow_state_and_number(tmp_path):
    """A SYN that nobody answers is sent again after a second; beyond the limit flows are only counted."""
    require_bcc()

    def knock() -> list[int]:
        sockets = [socket.socket() for _ in range(3)]
        for one in sockets:
            one.setblocking(False)
            one.connect_ex((NetworkPair.ipv4["right"], 4949))
        time.sleep(1.5)
        ports = [int(one.getsockname()[1]) for one in sockets]
        for one in sockets:
            one.close()
        return ports

    options = {"probes": {"tcp_retransmit": {"samples_per_second": 2}}}
    with bcc_child(ProbeName.TCP_RETRANSMIT, tmp_path, options) as child, NetworkPair() as pair:
        assert child.opened == ""
        child.ask("read")
        pair.run("right", "nft", "-f", "-", input=FIREWALL.format(what="tcp dport 4949"))
        mine, until = [], time.monotonic() + 20
        while not mine and time.monotonic() < until:  # the two are not joined at once
            ports = pair.inside("left", knock)
            seen = child.ask("read")
            mine = [one for one in seen if one["flow"]["src_port"] in ports]
        lost = child.ask("lost")
    assert mine
    assert {(one["flow"]["dst_ip"], one["flow"]["dst_port"], one["state"]) for one in mine} == {
        (NetworkPair.ipv4["right"], 4949, "SYN_SENT")
    }
    assert len(seen) == 2
    assert sum(one["suppressed"] for one in seen) == lost["suppressed"] >= 1
    assert sum(one["count"] + one["suppressed"] for one in seen) >= 3


def ours() -> list[str]:
    """Return the programs in the kernel that BCC loaded: no one else's have such names."""
    programs = json.loads(subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, check=True).stdout)
    return [one["name"] for one in programs if one.get("name", "").startswith("tracepoint__")]


@pytest.mark.parametrize("probe", [ProbeName.OOM, ProbeName.TCP_RESET])
def test_what_was_opened_is_released(tmp_path, probe):
    """Opened again and again, nothing is left: programs, tables, descriptors, memory."""
    require_bcc()
    with bcc_child(probe, tmp_path) as child:
        assert child.opened == ""
        assert ours()
        child.ask("close")
        empty = child.ask("held")
        assert not [one for one in empty if "bpf" in one or "perf" in one or "poll" in one]
        assert child.ask("reopen") == ""
        memory = child.ask("memory")
        for _ in range(5):
            assert child.ask("reopen") == ""
        assert child.ask("memory") < memory + 10
        child.ask("close")
        assert child.ask("held") == empty
        assert child.ask("after_close").startswith("ValueError")


def test_without_headers_of_the_kernel_the_others_go_on(tmp_path):
    """The line that is logged, from a process like the agent's."""
    require_bcc()
    with bcc_child(ProbeName.OOM, tmp_path, environment={"BCC_KERNEL_SOURCE": str(tmp_path)}) as child:
        assert "BCC needs the kernel's headers" in child.opened
        assert "linux-headers-" in child.opened


def test_what_the_compiler_says_is_part_of_the_cause(tmp_path):
    """It is taken from standard error, where BCC prints it, and is not there any more."""
    require_bcc()
    for name in ("linux", "uapi"):
        (tmp_path / "kernel" / "include" / name).mkdir(parents=True)
    with bcc_child(ProbeName.OOM, tmp_path, environment={"BCC_KERNEL_SOURCE": str(tmp_path / "kernel")}) as child:
        assert child.opened.startswith("BCC cannot load its program: ")
        assert "error" in child.opened
        assert not [one for one in child.ask("held") if "bpf" in one]
    assert not child.stderr


def test_without_rights_the_remedy_says_who_may(tmp_path):
    """A user who may not read tracefs."""
    require_bcc()
    program = f"""
import sys; sys.path.insert(0, {str(PROJECT)!r})
from tapio_otel.receivers.ebpf.bcc_feeds import open_bcc
from tapio_otel.receivers.ebpf.config import EbpfConfig
from tapio_otel.receivers.ebpf.feed import ProbeName, ProbeUnavailable
from tapio_otel.receivers.ebpf.bcc_library import load_bcc
import os
load_bcc()
os.setgid(65534); os.setuid(65534)
try:
    open_bcc(ProbeName.OOM, EbpfConfig())
except ProbeUnavailable as error:
    print(error)
"""
    command = [*IN_NAMESPACE, sys.executable, "-c", program]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "tracefs may not be read" in said.stdout
    assert "root" in said.stdout
