"""Tests of the records' decoding: any bytes, bytes made field by field, and the layouts that the objects themselves tell."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.receivers.ebpf import records
from tapio_otel.receivers.ebpf.observations import NO_CGROUP, CgroupFacts, Flow, OomKill, PacketDrop, TcpReset, TcpRetransmit
from tests.receivers.ebpf.conftest import BPFTOOL_PATH

PAGE = 4096
NAMES_FIELD = struct.Struct(f"={records.NAMES}s")
DECODERS = {
    "oom": (lambda record: records.decode_oom(record, PAGE), records.OOM_LENGTH),
    "throttle": (records.decode_throttle, records.THROTTLE_LENGTH),
    "window": (records.decode_window, records.WINDOW.size),
    "sample": (records.decode_sample, records.SAMPLE.size),
    "tally": (records.decode_tally, records.TALLY.size),
}
u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))


def cgroup_records(*cgroups: tuple[int, str, bool]) -> bytes:
    """Return `cgroup_record`s and their names as the programs fill them: each cgroup's own name first."""
    packed = [
        b"".join(name.encode() + b"\0" for name in reversed(path.strip("/").split("/"))) if path.strip("/") else b""
        for _, path, _ in cgroups
    ]
    heads = [records.CGROUP.pack(one[0], len(names), one[2], 0) for one, names in zip(cgroups, packed, strict=True)]
    return b"".join(heads) + b"".join(packed).ljust(records.NAMES, b"\xaa")


def cgroup_record(number: int, path: str = "", cut: bool = False) -> bytes:
    """Return what follows a window."""
    return cgroup_records((number, path, cut))


def sample_record(kind: int = 0, **fields: object) -> bytes:
    """Return a `sample_record`, UDP over IPv4 unless told otherwise."""
    told: dict[str, Any] = {"time": 1, "length": 2, "cgroup": 0, "reason": 3, "netns": 0, "ifindex": 0, "uid": records.UNKNOWN}
    told |= {"family": 2, "protocol": 17, "state": 0, "source_port": 0, "destination_port": 0}
    told |= {"source": bytes(16), "destination": bytes(16), "interface": b"", **fields}
    head = (told["time"], told["length"], 0, told["cgroup"], kind, told["reason"], told["netns"], told["ifindex"], told["uid"])
    ports = (socket.htons(told["source_port"]), socket.htons(told["destination_port"]))
    rest = (told["family"], told["protocol"], told["state"], *ports, told["source"], told["destination"], told["interface"], 0)
    return records.SAMPLE.pack(*head, *rest)


@pytest.mark.parametrize("kind", DECODERS)
@given(data=st.data())
def test_bytes_of_the_right_length_are_an_observation_or_a_value_error(kind: str, data: st.DataObject) -> None:
    """Garbled records never raise anything else."""
    decode, length = DECODERS[kind]
    pattern = data.draw(st.binary(min_size=1, max_size=120))
    record = (pattern * (length // len(pattern) + 1))[:length]
    try:
        decode(record)
    except ValueError as error:
        assert "record" in str(error)


@pytest.mark.parametrize("kind", DECODERS)
@given(data=st.data())
def test_bytes_of_another_length_are_a_value_error(kind: str, data: st.DataObject) -> None:
    """Short and long records are told with both lengths."""
    decode, length = DECODERS[kind]
    record = data.draw(st.binary(max_size=2 * length).filter(lambda record: len(record) != length))
    with pytest.raises(ValueError, match=f"has {len(record)} bytes: expected {length}"):
        decode(record)


@given(family=st.sampled_from([4, 6]), data=st.data(), ports=st.tuples(st.integers(1, 65535), st.integers(1, 65535)), time=u64)
def test_a_flow_is_told_as_it_was_sent(family: int, data: st.DataObject, ports: tuple[int, int], time: int) -> None:
    """Addresses and ports of both families come back as text and numbers."""
    addresses = data.draw(st.tuples(*[st.ip_addresses(v=family)] * 2))
    if family == 6 and any(address.ipv4_mapped for address in addresses):
        return
    packed = [address.packed.ljust(16, b"\0") for address in addresses]
    record = sample_record(
        time=time,
        family={4: 2, 6: 10}[family],
        source=packed[0],
        destination=packed[1],
        source_port=ports[0],
        destination_port=ports[1],
    )
    seen = records.decode_sample(record)
    assert seen.time_ns == time
    assert seen.flow.protocol == "udp"
    assert [ipaddress.ip_address(text) for text in (seen.flow.src_ip, seen.flow.dst_ip)] == list(addresses)
    assert (seen.flow.src_port, seen.flow.dst_port) == ports


def test_an_ipv4_address_in_an_ipv6_socket_is_told_as_ipv4() -> None:
    """A socket for both families maps IPv4 into IPv6."""
    mapped = bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 1])
    seen = records.decode_sample(sample_record(1, family=10, protocol=6, source=mapped, destination=mapped, state=1))
    assert isinstance(seen, TcpRetransmit)
    assert (seen.flow.src_ip, seen.flow.dst_ip, seen.state) == ("10.0.0.1", "10.0.0.1", "ESTABLISHED")


def test_protocols_without_ports_have_none() -> None:
    """ICMP has no ports, and neither has a fragment that is not the first."""
    assert records.decode_sample(sample_record(protocol=1)).flow == Flow("icmp", "0.0.0.0", None, "0.0.0.0", None)
    assert records.decode_sample(sample_record(protocol=17)).flow.src_port is None
    assert records.decode_sample(sample_record(protocol=251)).flow.protocol == "251"


def test_a_drop_tells_where_and_whose_it_was() -> None:
    """All that a sample carries is told."""
    record = sample_record(netns=4026531833, ifindex=2, interface=b"eth0\0zz", uid=1000, cgroup=77, family=0)
    assert records.decode_sample(record) == PacketDrop(
        time_ns=1, reason=3, length=2, interface="eth0", network_namespace=4026531833, cgroup=CgroupFacts(77), uid=1000
    )


def test_what_a_sample_does_not_know_is_none() -> None:
    """An unknown reason, user, cgroup and namespace are not told as numbers."""
    seen = records.decode_sample(sample_record(reason=records.UNKNOWN))
    assert isinstance(seen, PacketDrop)
    assert (seen.reason, seen.uid, seen.cgroup, seen.network_namespace) == (None, None, NO_CGROUP, None)


def test_resets_tell_their_direction_and_reason() -> None:
    """The reason's number is left to whoever knows its names."""
    sent, received = (
        records.decode_sample(sample_record(kind, protocol=6, reason=reason)) for kind, reason in ((2, 1), (3, 2**32 - 1))
    )
    assert isinstance(sent, TcpReset)
    assert (sent.direction, sent.reason, sent.state) == ("sent", "1", "")
    assert isinstance(received, TcpReset)
    assert (received.direction, received.reason) == ("received", "")


@pytest.mark.parametrize(("field", "value"), [("family", 7), ("kind", 9)])
def test_a_sample_that_no_program_makes_is_refused(field: str, value: int) -> None:
    """Unknown kinds and families are told by what was found."""
    record = sample_record(value) if field == "kind" else sample_record(family=value)
    with pytest.raises(ValueError, match=f"{field} {value}: expected 0"):
        records.decode_sample(record)


NAMES = st.lists(
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=30), max_size=records.NAMES // 121
)


@given(names=NAMES, number=st.integers(1, 2**64 - 1))
def test_a_cgroups_path_is_put_together_from_its_names(names: list[str], number: int) -> None:
    """The root's path is /, all others' begin with it."""
    path = "/" + "/".join(names)
    record = bytes(records.WINDOW.size) + cgroup_record(number, path)
    assert records.decode_throttle(record)[1] == CgroupFacts(number, path)


def test_a_path_that_was_cut_says_so() -> None:
    """What lies above the names that fit is left out, and marked."""
    record = bytes(records.WINDOW.size) + cgroup_record(5, "/pod/app", cut=True)
    assert records.decode_throttle(record)[1].path == "/…/pod/app"


def test_a_name_is_told_whole_however_long_it_is() -> None:
    """The kernel takes names of 255 bytes."""
    path = f"/{'s' * 255}/{'a' * 255}"
    assert records.decode_throttle(bytes(records.WINDOW.size) + cgroup_record(5, path))[1].path == path


def test_a_path_of_too_many_bytes_is_refused() -> None:
    """A record can hold no more names than it has room for."""
    record = bytes(records.WINDOW.size) + struct.pack("=QHHI", 1, 1281, 0, 0) + bytes(records.NAMES)
    with pytest.raises(ValueError, match="names of 1281 bytes: expected at most 1280"):
        records.decode_throttle(record)


def oom_record(flags: int, above: int = 1, cut: bool = False) -> bytes:
    """Return an `oom_record` in which no two fields are alike; the limit is that of a cgroup `above` the victim's."""
    numbers = (100, 90, 8, 7, 6, 5, 4, 30, 29)
    fields = (*numbers, flags, 41, 42, 43, -44, above, 3, b"victim", b"trigger")
    return records.OOM.pack(*fields) + cgroup_records((1, "/a", False), (2, "/b/c", cut))


def test_an_oom_kill_tells_victim_limit_and_trigger() -> None:
    """Memory comes in pages and is told in bytes, page tables come in bytes."""
    assert records.decode_oom(oom_record(3), PAGE) == OomKill(
        time_ns=100,
        pid=41,
        comm="victim",
        start_boottime_ns=90,
        uid=42,
        oom_score_adj=-44,
        trigger_pid=43,
        trigger_comm="trigger",
        scope="cgroup",
        memory_limit=30 * PAGE,
        memory_usage=29 * PAGE,
        total_vm=8 * PAGE,
        anon_rss=7 * PAGE,
        file_rss=6 * PAGE,
        shmem_rss=5 * PAGE,
        page_tables=4,
        cgroup=CgroupFacts(1, "/a"),
        memory_cgroup=CgroupFacts(2, "/b/c"),
        limit_cgroup=CgroupFacts(3, "/b"),
    )


def test_a_cgroup_of_all_controllers_is_told_once() -> None:
    """In cgroup v2 the memory cgroup is the one that tells whose the process is."""
    head = oom_record(3)[: records.OOM.size]
    seen = records.decode_oom(head + cgroup_records((7, "/b/c", False), (7, "", False)), PAGE)
    assert seen.cgroup == seen.memory_cgroup == CgroupFacts(7, "/b/c")
    assert seen.limit_cgroup == CgroupFacts(3, "/b")


@pytest.mark.parametrize(
    ("above", "cut", "path"),
    [(0, False, "/b/c"), (1, False, "/b"), (2, False, "/"), (1, True, "/…/b"), (2, True, ""), (3, True, "")],
)
def test_the_path_of_a_limit_is_the_beginning_of_the_victims(above: int, cut: bool, path: str) -> None:
    """Where that beginning did not fit, only the id is known."""
    assert records.decode_oom(oom_record(3, above, cut), PAGE).limit_cgroup == CgroupFacts(3, path)


def test_an_old_kernels_oom_kill_tells_only_the_pid() -> None:
    """Before 6.9 the kernel passes no task; who asked for memory, and whose limit it was, is known all the same."""
    seen = records.decode_oom(oom_record(0), PAGE)
    known = OomKill(time_ns=100, pid=41, trigger_pid=43, trigger_comm="trigger", scope="global")
    assert seen == known
    limit = {"memory_limit": 30 * PAGE, "memory_usage": 29 * PAGE, "limit_cgroup": CgroupFacts(3, "/b")}
    assert records.decode_oom(oom_record(2), PAGE) == replace(known, scope="cgroup", **limit)


def test_a_group_without_quota_has_none() -> None:
    """The kernel's number for no limit is no limit."""
    window = records.decode_window(records.WINDOW.pack(*range(1, 11), 2**64 - 1, 100))
    assert (window.begin, window.end) == (records.Totals(1, 2, 3, 4, 5), records.Totals(6, 7, 8, 9, 10))
    assert (window.quota_ns, window.period_ns) == (None, 100)


# --- layouts --------------------------------------------------------------------------------------------------------------


def packed_fields(*layouts: struct.Struct) -> list[tuple[int, int]]:
    """Return offset and size of each field of layouts that follow each other."""
    fields, offset = [], 0
    for layout in layouts:
        for count, letter in re.findall(r"(\d*)([a-zA-Z])", layout.format):
            sizes = [int(count)] if letter == "s" else [struct.calcsize(f"={letter}")] * int(count or 1)
            for size in sizes:
                fields.append((offset, size))
                offset += size
    return fields


class ObjectTypes:
    """Know the types that an object tells of itself."""

    def __init__(self, path: Path) -> None:
        command = ["bpftool", "btf", "dump", "file", str(path), "-j"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": BPFTOOL_PATH})
        self._types = {kind["id"]: kind for kind in json.loads(done.stdout)["types"]}

    def fields(self, name: str) -> list[tuple[int, int]]:
        """Return offset and size of each field of a struct, of structs inside it too; arrays of characters are one field."""
        found = [kind for kind in self._types.values() if kind["kind"] == "STRUCT" and kind["name"] == name]
        assert found, f"the object does not tell the type {name}"
        return list(self._flat(found[0], 0))

    def _flat(self, kind: dict, offset: int):
        if kind["kind"] == "TYPEDEF":
            yield from self._flat(self._types[kind["type_id"]], offset)
        elif kind["kind"] == "STRUCT":
            for member in kind["members"]:
                yield from self._flat(self._types[member["type_id"]], offset + member["bits_offset"] // 8)
        else:
            yield offset, self._size(kind)

    def _size(self, kind: dict) -> int:
        if kind["kind"] == "ARRAY":
            return kind["nr_elems"] * self._size(self._types[kind["type_id"]])
        return self._size(self._types[kind["type_id"]]) if kind["kind"] == "TYPEDEF" else kind["size"]


@pytest.mark.parametrize(
    ("probe", "name", "layouts"),
    [
        ("oom", "oom_record", [records.OOM, records.CGROUP, records.CGROUP, NAMES_FIELD]),
        ("cpu_throttle", "throttle_record", [records.WINDOW, records.CGROUP, NAMES_FIELD]),
        ("cpu_throttle", "throttle_window", [records.WINDOW]),
        *[(probe, "sample_record", [records.SAMPLE]) for probe in ("net_drop", "tcp_retransmit", "tcp_reset")],
        *[(probe, "tally", [records.TALLY]) for probe in ("net_drop", "tcp_retransmit", "tcp_reset")],
    ],
)
def test_the_programs_have_the_same_layout(bpf_objects: Path, probe: str, name: str, layouts: list[struct.Struct]) -> None:
    """Each field lies where the object's own BTF says, none is left out."""
    assert ObjectTypes(bpf_objects / f"{probe}.bpf.o").fields(name) == packed_fields(*layouts)
