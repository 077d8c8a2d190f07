"""Tests of the binding over libbpf, with small programs in the real kernel."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tapio_otel.receivers.ebpf.feed import ProbeUnavailable
from tapio_otel.receivers.ebpf.libbpf import BpfObject, ProgramRefused, Ring, causes, kernel_enum, maps, ring
from tests.requirements import require

Compile = Callable[[str], Path]
SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

HEAD = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""

# getppid(2) is what the tests call to make something happen; `watched` keeps other processes out.
WATCH = """
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 20); } binding_ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_HASH); __uint(max_entries, 64); __type(key, __u32); __type(value, __u32); }
    binding_calls SEC(".maps");
const volatile __u32 watched = 0;
const volatile __s8 smallest = 0;
const volatile _Bool flag = 0;
const volatile char label[8] = "";
const volatile __u64 widest = 0;

struct record { __u64 widest; char label[8]; __s32 smallest; __u32 flag; };

SEC("%s/sys_enter")
int binding_seen(unsigned long long *ctx)
{
    if (bpf_get_current_pid_tgid() >> 32 != watched || ctx[1] != %d)
        return 0;
    __u32 key = 7, one = 1, *count = bpf_map_lookup_elem(&binding_calls, &key);
    if (count)
        (*count)++;
    else
        bpf_map_update_elem(&binding_calls, &key, &one, BPF_ANY);
    struct record record = { .widest = widest, .smallest = smallest, .flag = flag };
    for (int i = 0; i < 8; i++)
        record.label[i] = label[i];
    bpf_ringbuf_output(&binding_ring, &record, sizeof record, 0);
    return 0;
}
"""
GETPPID = {"x86_64": 110, "aarch64": 173}.get(os.uname().machine, 64)
TP_BTF = WATCH % ("tp_btf", GETPPID)
RAW_TP = WATCH % ("raw_tp", GETPPID)

MAPS = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 5000); __type(key, __u64); __type(value, char[12]); }
    binding_plain SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH); __uint(max_entries, 64); __type(key, __u32); __type(value, char[12]); }
    binding_split SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 3); __type(key, __u32); __type(value, __u64); }
    binding_array SEC(".maps");
"""

REFUSED = """
SEC("raw_tp/sys_exit")
int binding_fine(void *ctx) { return 0; }
SEC("raw_tp/sys_enter")
int binding_bad(unsigned long long *ctx) { return **(int **)ctx; }
"""

WORDY = """
SEC("raw_tp/sys_enter")
int binding_wordy(unsigned long long *ctx)
{
    unsigned long long sum = 0;
    #pragma clang loop unroll(disable)
    for (int i = 0; i < 3000; i++)
        sum += bpf_get_prandom_u32();
    return sum + **(int **)ctx;
}
"""

MISSING_TARGETS = """
SEC("%s/no_such_tracepoint")
int binding_lost(void *ctx) { return 0; }
SEC("raw_tp/sys_exit")
int binding_fine(void *ctx) { return 0; }
"""


@pytest.fixture(scope="module", autouse=True)
def _kernel() -> None:
    """Ask for what every test here needs."""
    lacking = [name for name in ("clang", "bpftool", "setpriv", "unshare") if shutil.which(name, path=SYSTEM_PATH) is None]
    reasons = [
        "only root loads BPF programs" * (os.geteuid() != 0),
        "the kernel tells no BTF" * (not causes.BTF.exists()),
        f"not installed: {', '.join(lacking)}" * bool(lacking),
    ]
    require("bpf", not any(reasons), "; ".join(filter(None, reasons)))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Return a function that compiles a program and returns its object file, each source once."""
    directory, objects = tmp_path_factory.mktemp("objects"), {}

    def build(source: str) -> Path:
        if source not in objects:
            path = directory / f"binding{len(objects)}.bpf.o"
            code = path.with_suffix(".c")
            code.write_text(HEAD + source)
            include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
            command = ["clang", "-g", "-O2", "-target", "bpf", include, "-c", str(code), "-o", str(path)]
            done = subprocess.run(command, text=True, capture_output=True, check=False)
            require("bpf", done.returncode == 0, f"clang cannot build BPF programs: {done.stderr}")
            objects[source] = path
        return objects[source]

    return build


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BpfObject]:
    """Open an object, released at the end."""
    bpf = BpfObject.open(path)
    try:
        yield bpf
    finally:
        bpf.close()


@contextlib.contextmanager
def watching(path: Path, **variables: int | bytes) -> Iterator[tuple[BpfObject, Ring]]:
    """Load and attach one of the programs that watch this process."""
    with opened(path) as bpf:
        for name, value in {"watched": os.getpid(), **variables}.items():
            bpf.configure(name, value)
        bpf.load()
        records = bpf.ring("binding_ring")
        bpf.attach()
        yield bpf, records


@pytest.mark.parametrize("source", [TP_BTF, RAW_TP], ids=["tp_btf", "raw_tp"])
def test_a_program_sees_what_happens_with_the_variables_it_was_given(built, source):
    """Integers of each size and sign, booleans and bytes arrive; each occurrence gives one record."""
    variables = {"label": b"hello", "smallest": -3, "flag": 1, "widest": 2**64 - 1}
    with watching(built(source), **variables) as (bpf, records):
        assert bpf.programs == ["binding_seen"]
        for _ in range(3):
            os.getppid()
        expected = b"\xff" * 8 + b"hello\0\0\0" + (-3).to_bytes(4, sys.byteorder, signed=True)
        assert records.read() == [expected + (1).to_bytes(4, sys.byteorder)] * 3
        assert records.read() == []


def test_per_cpu_counts_are_read_and_taken(built):
    """There is a value for each possible CPU; what was taken is gone."""
    key = (7).to_bytes(4, sys.byteorder)
    with watching(built(RAW_TP)) as (bpf, _):
        calls = bpf.map("binding_calls")
        assert calls.lookup_per_cpu(key) == []
        for _ in range(5):
            os.getppid()
        assert total(calls.lookup_per_cpu(key)) == 5
        assert [(each, total(values)) for each, values in calls.items()] == [(key, 5)]
        assert [(each, total(values)) for each, values in calls.take()] == [(key, 5)]
        assert calls.take() == calls.items() == []


def total(values: Sequence[bytes]) -> int:
    """Return the sum of a per-CPU counter's values."""
    return sum(int.from_bytes(value, sys.byteorder) for value in values)


@pytest.mark.parametrize("batches", [True, False], ids=["batches", "singly"])
def test_a_full_map_is_read_and_taken_whole(built, monkeypatch, batches):
    """Every entry comes once, in batches as in the single steps of kernels without them."""
    if not batches:
        monkeypatch.setattr(maps.BpfMap, "_in_batches", lambda *_: None)
    with loaded_maps(built) as bpf:
        plain = bpf.map("binding_plain")
        expected = {number.to_bytes(8, "little"): b"%012d" % number for number in range(plain.max_entries)}
        for key, value in expected.items():
            plain.update(key, value)
        items = plain.items()
        assert dict(items) == expected
        assert len(items) == len(expected)
        assert dict(plain.take()) == expected
        assert plain.items() == []


def test_a_hash_bucket_larger_than_a_batch_is_read(built, monkeypatch):
    """The batch grows until it holds the bucket."""
    monkeypatch.setattr(maps, "_BATCH_BYTES", 1)
    with loaded_maps(built) as bpf:
        plain = bpf.map("binding_plain")
        for number in range(plain.max_entries):
            plain.update(number.to_bytes(8, "little"), bytes(12))
        assert len(dict(plain.take())) == plain.max_entries


def test_taking_works_on_kernels_that_cannot_read_and_delete_in_one_step(built, monkeypatch):
    """Reading and deleting follow each other then."""
    monkeypatch.setattr(maps.BpfMap, "_in_batches", lambda *_: None)
    with loaded_maps(built) as bpf:
        monkeypatch.setattr(maps, "libbpf", OldKernel)
        plain = bpf.map("binding_plain")
        plain.update(b"a" * 8, b"b" * 12)
        assert plain.take() == [(b"a" * 8, b"b" * 12)]
        assert plain.items() == []


class OldKernel:
    """libbpf as it is before Linux 5.14: the kernel does not know BPF_MAP_LOOKUP_AND_DELETE_ELEM for hashes."""

    def __getattr__(self, name: str) -> object:
        from tapio_otel.receivers.ebpf.libbpf.library import libbpf

        return getattr(libbpf(), name)

    def bpf_map_lookup_and_delete_elem(self, *_: object) -> int:
        return -524


def test_single_entries_are_written_read_and_deleted(built):
    """Values whose size is no multiple of 8 come without padding, per CPU as well."""
    with loaded_maps(built) as bpf:
        plain, split = bpf.map("binding_plain"), bpf.map("binding_split")
        assert (plain.key_size, plain.value_size, plain.max_entries) == (8, 12, 5000)
        assert bpf.map("binding_plain") is plain
        plain.update(b"k" * 8, b"v" * 12)
        assert plain.lookup(b"k" * 8) == b"v" * 12
        assert plain.delete(b"k" * 8)
        assert not plain.delete(b"k" * 8)
        assert plain.lookup(b"k" * 8) is None
        values = [b"%012d" % number for number in range(maps.possible_cpus())]
        split.update(b"abcd", b"".join(value.ljust(16, b"\0") for value in values))
        assert split.lookup_per_cpu(b"abcd") == values
        assert split.items() == [(b"abcd", values)]


def test_an_array_is_read_but_not_taken(built):
    """Nothing can be removed from an array, and the error says which map it was."""
    with loaded_maps(built) as bpf:
        array = bpf.map("binding_array")
        array.update((1).to_bytes(4, sys.byteorder), b"12345678")
        assert [value for _, value in array.items()] == [bytes(8), b"12345678", bytes(8)]
        with pytest.raises(OSError, match="map 'binding_array'"):
            array.take()


def test_keys_and_values_of_a_wrong_size_are_refused(built):
    """The kernel would read beyond them."""
    with loaded_maps(built) as bpf:
        plain = bpf.map("binding_plain")
        with pytest.raises(ValueError, match="keys of 8 bytes, not 3: b'abc'"):
            plain.lookup(b"abc")
        with pytest.raises(ValueError, match="values of 12 bytes, not 1"):
            plain.update(b"k" * 8, b"v")


@contextlib.contextmanager
def loaded_maps(built: Compile) -> Iterator[BpfObject]:
    """Load an object of maps only."""
    with opened(built(MAPS)) as bpf:
        bpf.load()
        yield bpf


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("watched", 2**32, "'watched' holds unsigned integers of 32 bits, not 4294967296"),
        ("watched", -1, "'watched' holds unsigned integers of 32 bits, not -1"),
        ("smallest", 128, "'smallest' holds signed integers of 8 bits, not 128"),
        ("label", b"ninebytes", "'label' has room for 8 bytes, not for 9: b'ninebytes'"),
        ("label", 3, "'label' is no integer: give its 8 bytes instead of 3"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(built, variable, value, message):
    """The error says what would fit."""
    with opened(built(RAW_TP)) as bpf, pytest.raises(ValueError, match=message):
        bpf.configure(variable, value)


def test_unknown_names_are_refused(built):
    """The error names the object and the nearest name there is."""
    with opened(built(RAW_TP)) as bpf:
        with pytest.raises(KeyError, match=r"no variable 'wached' in \.rodata: did you mean 'watched'\?"):
            bpf.configure("wached", 1)
        with pytest.raises(KeyError, match=r"no program 'binding_sen': did you mean 'binding_seen'\?"):
            bpf.skip("binding_sen")
        with pytest.raises(KeyError, match="no program 'other'"):
            bpf.attach("other")
        with pytest.raises(KeyError, match=r"binding\d+.bpf.o has no map 'other'"):
            bpf.map("other")
    with opened(built(MAPS)) as bpf, pytest.raises(KeyError, match="no variable 'any'"):
        bpf.configure("any", 1)


def test_steps_in_the_wrong_order_are_refused(built):
    """Maps exist from loading on, variables are fixed from then on, and nothing works after closing."""
    with opened(built(RAW_TP)) as bpf:
        with pytest.raises(RuntimeError, match="load the object first"):
            bpf.map("binding_calls")
        bpf.load()
        with pytest.raises(RuntimeError, match="is loaded"):
            bpf.configure("watched", 1)
        with pytest.raises(OSError, match="ring buffer 'binding_calls' cannot be opened"):
            bpf.ring("binding_calls")
        bpf.close()
        for step in (bpf.load, lambda: bpf.map("binding_calls"), lambda: bpf.configure("watched", 1), lambda: bpf.skip("any")):
            with pytest.raises(RuntimeError, match="is closed"):
                step()


def test_a_flood_is_read_in_bounded_portions(built):
    """One reading gives so many records and no more; the descriptor stays readable until all were read."""
    extra = 10
    with watching(built(RAW_TP)) as (_, records):
        for _ in range(ring.MOST_RECORDS + extra):
            os.getppid()
        assert len(records.read()) == ring.MOST_RECORDS
        assert is_readable(records)
        assert len(records.read()) == extra
        assert not is_readable(records)


def is_readable(records: Ring) -> bool:
    """Tell whether a ring's descriptor can be read now."""
    import select

    return bool(select.select([records], [], [], 0)[0])


async def test_an_event_loop_is_woken_by_a_record(built):
    """The descriptor works with add_reader."""
    with watching(built(RAW_TP)) as (_, records):
        loop, seen = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(records.fileno(), seen.set)
        try:
            os.getppid()
            await asyncio.wait_for(seen.wait(), 10)
        finally:
            loop.remove_reader(records.fileno())
        assert len(records.read()) == 1


def test_closing_leaves_nothing_that_works_and_is_safe_twice(built):
    """Who still holds a ring or a map gets nothing or an error, never another file's content."""
    with watching(built(RAW_TP)) as (bpf, records):
        calls = bpf.map("binding_calls")
        os.getppid()
        bpf.close()
        bpf.close()
        assert records.read() == []
        assert records.fileno() == -1
        records.close()
        with pytest.raises(OSError, match="map 'binding_calls' cannot be read") as caught:
            calls.items()
        assert caught.value.errno == errno.EBADF
        assert calls.fileno() == -1


def test_no_reference_cycle_outlives_a_closed_ring(built):
    """Object and ring are freed without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        with watching(built(RAW_TP)) as (bpf, records):
            os.getppid()
            records.read()
        kept = [weakref.ref(bpf), weakref.ref(records)]
        del bpf, records
        assert [each() for each in kept] == [None, None]
    finally:
        gc.enable()


def test_a_refused_program_is_named_with_the_verifiers_reason(built, capfd):
    """The line of source and the reason are in the cause, and nothing is printed."""
    with opened(built(REFUSED)) as bpf, pytest.raises(ProgramRefused) as caught:
        bpf.load()
    refused = caught.value
    assert refused.program == "binding_bad"
    assert "'binding_bad' cannot be loaded" in refused.cause
    assert "return **(int **)ctx" in refused.cause
    assert "R1 invalid mem access" in refused.cause
    assert refused.remedy == "Report this line with what `uname -r` prints; probes.<name>.enabled: false silences it"
    assert "\n" not in str(refused)
    assert capfd.readouterr() == ("", "")


def test_the_reason_is_found_at_the_end_of_a_long_log(built):
    """The verifier's log of a loop is longer than what is kept."""
    with opened(built(WORDY)) as bpf, pytest.raises(ProgramRefused, match="invalid mem access"):
        bpf.load()


def test_the_others_of_an_object_load_without_the_refused_one(built):
    """The refused program is skipped in a second opening."""
    with opened(built(REFUSED)) as bpf:
        bpf.skip("binding_bad")
        bpf.load()
        bpf.attach()
        assert kernel_names("prog") >= {"binding_fine"}
        assert "binding_bad" not in kernel_names("prog")


@pytest.mark.parametrize(("kind", "step"), [("tp_btf", "loaded"), ("raw_tp", "attached")])
def test_a_program_whose_target_this_kernel_lacks_is_named(built, kind, step):
    """Some are found out when loading, others when attaching; both say so."""
    with opened(built(MISSING_TARGETS % kind)) as bpf, pytest.raises(ProgramRefused, match=step) as caught:
        bpf.load()
        bpf.attach()
    assert caught.value.program == "binding_lost"
    assert "no_such_tracepoint" in caught.value.cause
    assert caught.value.remedy == "This kernel lacks what the program looks at"


@pytest.mark.parametrize("length", [0, 10, 700, 2000])
def test_a_truncated_object_is_reported(built, tmp_path, length):
    """The report names the file and what to do."""
    cut = tmp_path / "cut.bpf.o"
    cut.write_bytes(built(RAW_TP).read_bytes()[:length])
    with pytest.raises(ProbeUnavailable, match="is no BPF object that libbpf can read") as caught:
        BpfObject.open(cut)
    assert str(cut) in caught.value.cause
    assert "make bpf" in caught.value.remedy


def test_a_missing_object_is_reported(tmp_path):
    """The report names the file and what to do."""
    with pytest.raises(ProbeUnavailable, match=r"none\.bpf\.o is missing\. Build it with `make bpf`"):
        BpfObject.open(tmp_path / "none.bpf.o")


def test_a_hundred_rounds_leave_nothing_behind(built):
    """Whether a round succeeds, is refused at loading, or fails at attaching."""
    bad = (REFUSED, MISSING_TARGETS % "tp_btf", MISSING_TARGETS % "raw_tp")
    rounds = [partial(whole_round, built(TP_BTF)), *(partial(failing_round, built(source)) for source in bad)]
    for each in rounds:
        each()
    before = open_descriptors()
    for number in range(100):
        rounds[number % len(rounds)]()
    assert open_descriptors() == before
    assert_gone_from_kernel()


def whole_round(path: Path) -> None:
    """Do everything once."""
    with watching(path) as (bpf, records):
        os.getppid()
        assert len(records.read()) == 1
        assert len(bpf.map("binding_calls").take()) == 1


def failing_round(path: Path) -> None:
    """Load and attach what is refused."""
    with opened(path) as bpf, pytest.raises(ProgramRefused):
        bpf.load()
        bpf.attach()


def open_descriptors() -> list[str]:
    """Return what this process has open, but for the directory that tells it."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(descriptor.readlink()))
    return sorted(found)


def assert_gone_from_kernel() -> None:
    """Wait until the kernel has freed what was released, which it does after a grace period."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        names = kernel_names("prog") | kernel_names("map")
        left = {name for name in names if name.startswith("binding")}
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(f"still in the kernel: {left}")


def kernel_names(kind: str) -> set[str]:
    """Return the names of the kernel's BPF programs or maps."""
    done = subprocess.run(["bpftool", kind, "-j"], env={"PATH": SYSTEM_PATH}, capture_output=True, check=True)
    return {entry.get("name", "") for entry in json.loads(done.stdout or "[]")}


TRY = """
import os, sys
from pathlib import Path
from tapio_otel.receivers.ebpf.feed import ProbeUnavailable
from tapio_otel.receivers.ebpf.libbpf import BpfObject, kernel_enum
bpf = None
try:
    if sys.argv[1] == "enum":
        kernel_enum("skb_drop_reason")
    else:
        bpf = BpfObject.open(Path(sys.argv[1]))
        bpf.configure("watched", os.getpid())
        bpf.load()
        records = bpf.ring("binding_ring")
        bpf.attach()
        os.getppid()
        print("works", len(records.read()))
except ProbeUnavailable as unavailable:
    print(f"{type(unavailable).__name__}: {unavailable.cause} | {unavailable.remedy}")
finally:
    if bpf:
        bpf.close()
"""


def tried(argument: str | Path, *prefix: str, **options: object) -> str:
    """Return what a process of its own says that tries an object, run behind the command `prefix`."""
    command = [*prefix, sys.executable, "-c", TRY, str(argument)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_without_rights_the_report_names_the_missing_capabilities(built):
    """And how to grant them."""
    said = tried(built(TP_BTF), "setpriv", "--bounding-set=-all", "--inh-caps=-all")
    assert said.startswith("ProbeUnavailable: the kernel refuses BPF (EPERM): this process lacks CAP_BPF and CAP_PERFMON")
    assert "AmbientCapabilities=CAP_BPF CAP_PERFMON" in said


def test_with_half_the_rights_the_report_names_the_other_half(built):
    """CAP_BPF alone loads no tracing program."""
    said = tried(built(TP_BTF), "setpriv", "--bounding-set=-all,+bpf", "--inh-caps=-all")
    assert "lacks CAP_PERFMON; it has CAP_BPF |" in said


@pytest.fixture
def other_user() -> tuple[str, ...]:
    """Return the beginning of a command that runs as another user, who must be able to read the installation."""
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    reaches = subprocess.run([*user, sys.executable, "-c", "import tapio_otel.receivers"], capture_output=True, check=False)
    if reaches.returncode != 0:
        pytest.skip(f"another user cannot read the installation: {reaches.stderr.decode()}")
    return user


def test_an_object_that_may_not_be_read_is_reported(built, other_user):
    """Tests' directories are closed to other users."""
    said = tried(built(TP_BTF), *other_user)
    assert "cannot be read" in said
    assert said.endswith("| Check its access rights")


def test_two_capabilities_suffice_for_another_user(built, other_user):
    """An agent need not be root."""
    granted = "-all,+bpf,+perfmon"
    with built(TP_BTF).open("rb") as file:  # its directory is closed to others
        os.fchmod(file.fileno(), 0o644)
        path = f"/proc/self/fd/{file.fileno()}"
        prefix = (*other_user, f"--bounding-set={granted}", f"--inh-caps={granted}", f"--ambient-caps={granted}")
        assert tried(path, *prefix, pass_fds=[file.fileno()]) == "works 1"


def test_a_user_namespace_is_told_from_missing_capabilities(built):
    """All capabilities are there, and count nothing."""
    done = subprocess.run(["unshare", "-Ur", "true"], capture_output=True, check=False)
    require("bpf", done.returncode == 0, f"user namespaces are refused: {done.stderr.decode()}")
    assert "is in a user namespace" in tried(built(TP_BTF), "unshare", "-Ur")


@pytest.mark.parametrize("what", ["object", "enum"])
def test_without_btf_the_report_says_so(built, what):
    """For programs as for the names of enums."""
    hide = ("unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', str(causes.BTF))
    said = tried(built(TP_BTF) if what == "object" else "enum", *hide)
    assert said.startswith(f"ProbeUnavailable: the kernel tells no types: {causes.BTF} is missing or empty")
    assert said.endswith("| Use a kernel with CONFIG_DEBUG_INFO_BTF=y and make /sys visible to the agent")


def test_a_program_that_needs_no_types_loads_without_btf(built):
    """Nothing of the binding itself needs the kernel's BTF."""
    hide = ("unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', str(causes.BTF))
    assert tried(built(RAW_TP), *hide) == "works 1"


def test_a_missing_library_is_reported_with_its_package(built):
    """The report names what to install."""
    library = library_path()
    said = tried(built(RAW_TP), "unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', library)
    assert said.startswith("ProbeUnavailable: libbpf cannot be used: ")
    assert "apt package libbpf1" in said


def test_the_old_library_is_refused_with_the_reason(built, tmp_path):
    """libbpf.so.0 reports errors in another way."""
    library = library_path()
    shutil.copy(library, tmp_path / "libbpf.so.0")
    hide = ("unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', library)
    said = tried(built(RAW_TP), *hide, env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    assert "libbpf.so.1 is missing, and libbpf.so.0, which is there" in said


def library_path() -> str:
    """Return the file that libbpf.so.1 is, as a process sees it that has loaded it."""
    program = "import ctypes; ctypes.CDLL('libbpf.so.1'); print(open('/proc/self/maps').read())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return next(line.split()[-1] for line in done.stdout.splitlines() if "libbpf.so" in line)


def test_the_kernels_enums_are_read():
    """Values of stable interfaces: plain, of 64 bits, and negative ones."""
    assert kernel_enum("bpf_cmd")[0] == "BPF_MAP_CREATE"
    reasons = kernel_enum("skb_drop_reason")
    assert "SKB_DROP_REASON_NO_SOCKET" in reasons.values()
    assert len(reasons) > 50
    assert kernel_enum("cpuhp_state")[-1] == "CPUHP_INVALID"
    assert kernel_enum("no_such_enum_in_any_kernel") == {}


def test_an_enum_of_64_bits_is_read():
    """Where the running kernel's BTF has such: it does from Linux 6.1 on, by a new enough pahole."""
    names = kernel_enum("perf_callchain_context")
    assert names[min(names)].startswith("PERF_CONTEXT_")
    assert {value & (2**64 - 1) for value in names} >= {2**64 - 32, 2**64 - 128}  # PERF_CONTEXT_HV, _KERNEL


@pytest.mark.parametrize(
    ("version", "held", "lacking"),
    [
        ((5, 4), {"CAP_BPF"}, ["CAP_SYS_ADMIN"]),
        ((5, 4), {"CAP_SYS_ADMIN"}, []),
        ((5, 8), set(), ["CAP_BPF", "CAP_PERFMON"]),
        ((6, 1), {"CAP_BPF"}, ["CAP_PERFMON"]),
        ((6, 1), {"CAP_SYS_ADMIN"}, []),
    ],
)
def test_the_capabilities_needed_depend_on_the_kernel(monkeypatch, version, held, lacking):
    """CAP_BPF and CAP_PERFMON came with Linux 5.8; CAP_SYS_ADMIN includes both."""
    monkeypatch.setattr(causes, "kernel_version", lambda: version)
    assert causes.lacking_capabilities(held) == lacking


def test_lockdown_and_locked_memory_are_told_as_causes(monkeypatch, tmp_path):
    """Each has a remedy of its own."""
    lockdown = tmp_path / "lockdown"
    lockdown.write_text("none integrity [confidentiality]\n")
    monkeypatch.setattr(causes, "_LOCKDOWN", lockdown)
    assert "locked down (confidentiality)" in causes.load_failure(errno.EPERM, []).cause
    lockdown.write_text("none [integrity] confidentiality\n")
    monkeypatch.setattr(causes, "kernel_version", lambda: (5, 10))
    monkeypatch.setattr(causes.resource, "getrlimit", lambda _: (65536, 65536))
    assert "the limit is 65536 bytes" in causes.load_failure(errno.EPERM, []).cause


LIBBPF_SAYS = textwrap.dedent(
    """\
    libbpf: BTF loading error: -22
    libbpf: Error loading .BTF into kernel: -22. BTF is optional, ignoring.
    libbpf: map 'events': failed to create: Cannot allocate memory(-12)
    libbpf: failed to load object 'x'
    """
).splitlines()


def test_want_of_memory_is_told_with_the_map_that_did_not_fit():
    """By the last complaint that is no mere consequence."""
    report = causes.load_failure(errno.ENOMEM, LIBBPF_SAYS)
    assert "map 'events': failed to create" in report.cause
    assert report.remedy == "Raise the memory limit of the agent's cgroup"
