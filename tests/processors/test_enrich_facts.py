"""What enrichers read of a machine: os-release, unit files, packages; and how labels are chosen."""

from __future__ import annotations

import asyncio
import fnmatch
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapio_otel.entity import EntityReference
from tapio_otel.processors.enrich.enrichers.host import os_release, system_of
from tapio_otel.processors.enrich.packages import Package, changed_at, units_by_package
from tapio_otel.processors.enrich.shown import Choice, beginnings
from tapio_otel.processors.enrich.subject import rivals_of
from tapio_otel.processors.enrich.unit_files import describe_unit, template_of
from tests.processors.enrich_samples import MACHINE, NODE, event, machine, processor

NAMES = st.text("ab.*/", min_size=1, max_size=6)


@given(st.lists(NAMES, max_size=4), st.dictionaries(st.text("ab./", min_size=1, max_size=6), st.just("x")))
def test_labels_are_chosen_as_shells_choose_names(names, words):
    """`*` stands for anything wherever it is; and what a cache keeps is never less than what is shown."""
    expected = {word for word in words if any(fnmatch.fnmatchcase(word, name) for name in names)}
    assert set(Choice(names).of(words)) == expected
    assert expected <= set(Choice(beginnings(names)).of(words))


def test_nothing_is_chosen_by_an_empty_list():
    """No names, no labels."""
    assert dict(Choice([]).of({"a": "b"})) == {}
    assert not Choice([])
    assert Choice(["*"]).of({"a": "b"}) == {"a": "b"}


def test_os_release_is_read_as_the_shell_would(tmp_path):
    """Quotes and escapes are undone, comments and what is no assignment left out; etc comes before usr/lib."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/os-release").write_text("NAME=Other\n")
    text = '# it is\nNAME="Fedora Linux"\nVERSION_ID=44\nPRETTY_NAME=\'Fedora "44"\'\n\nnonsense\nBUILD_ID=x\nBAD="open\n'
    (tmp_path / "etc/os-release").write_text(text)
    assert system_of(os_release(tmp_path)) == {
        "os.name": "Fedora Linux",
        "os.version": "44",
        "os.description": 'Fedora "44"',
        "os.build_id": "x",
    }
    (tmp_path / "etc/os-release").unlink()
    assert system_of(os_release(tmp_path)) == {"os.name": "Other"}
    assert os_release(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("unit", "files", "description"),
    [
        ("a.service", {"usr/lib/systemd/system/a.service": "[Unit]\nDescription = A\n"}, "A"),
        (
            "a.service",
            {
                "usr/lib/systemd/system/a.service": "[Unit]\nDescription=A",
                "etc/systemd/system/a.service": "[Unit]\nDescription=B",
            },
            "B",
        ),
        ("a.service", {"etc/systemd/system/a.service": "[Install]\nDescription=no\n[Unit]\nDescriptions=no\n"}, ""),
        ("a.service", {"etc/systemd/system/a.service": "[Unit]\nDescription=first\nDescription=last"}, "last"),
        ("tty@1-2.service", {"lib/systemd/system/tty@.service": "[Unit]\nDescription=On %I of %p (100%%, %q) %n"}, None),
        ("a.service", {}, ""),
        ("user@1.service/a.service", {"etc/systemd/system/a.service": "[Unit]\nDescription=A"}, ""),
    ],
)
def test_a_unit_is_called_what_its_file_says(tmp_path, unit, files, description):
    """The first directory wins, templates stand for their instances, and the commonest specifiers are put in."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    expected = "On 1/2 of tty (100%, %q) tty@1-2.service" if description is None else description
    assert describe_unit(unit, tmp_path) == expected


@given(st.text(max_size=80), st.text("ab@.-/%", max_size=12))
def test_any_description_of_any_unit_is_read(tmp_path_factory, content, unit):
    """Whatever is in a file, or in a name, nothing is raised and the text is short."""
    root = tmp_path_factory.getbasetemp() / "any"
    directory = root / "etc/systemd/system"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "ab.service").write_bytes(f"[Unit]\nDescription={content}".encode("utf-8", "surrogatepass"))
    assert len(describe_unit("ab.service", root)) <= 300
    assert isinstance(describe_unit(f"{unit}.service", root), str)


def test_templates_are_told_from_plain_units():
    """`name@instance.service` has one; `name@.service` is one."""
    assert template_of("getty@tty1.service") == ("getty@.service", "tty1")
    assert template_of("getty@.service") == ("", "")
    assert template_of("ssh.service") == ("", "")


def dpkg(root, version="1:9.2p1-2"):
    """Write what dpkg keeps of two packages."""
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True, exist_ok=True)
    files = (
        "/.\n/lib\n/lib/systemd/system\n/lib/systemd/system/ssh.service\n/usr/lib/systemd/system/ssh@.service\n/usr/sbin/sshd\n"
    )
    (info / "openssh-server.list").write_text(
        files + "/lib/systemd/system/ssh.service.d/x.conf\n/opt/systemd/system/no.service\n"
    )
    (info / "libfoo:amd64.list").write_text("/lib/systemd/system/foo.socket\n")
    (info / "plain.list").write_text("/usr/bin/plain\n")
    (root / "var/lib/dpkg/status").write_text(
        f"Package: plain\nVersion: 1\n\nPackage: openssh-server\nStatus: install ok installed\nVersion: {version}\n\n"
    )


def test_dpkg_tells_the_package_of_a_unit(tmp_path):
    """By the lists of files, with and without architecture, and the version out of the status."""
    dpkg(tmp_path)
    assert units_by_package(tmp_path) == {
        "ssh.service": Package("openssh-server", "1:9.2p1-2"),
        "ssh@.service": Package("openssh-server", "1:9.2p1-2"),
        "foo.socket": Package("libfoo", ""),
    }


def test_rpm_tells_the_package_of_a_unit(tmp_path):
    """By the indexes of its database, which is neither locked nor written to."""
    path = tmp_path / "usr/lib/sysimage/rpm/rpmdb.sqlite"
    path.parent.mkdir(parents=True)
    database = sqlite3.connect(path)
    for table in ("Name", "Basenames", "Dirnames"):
        database.execute(f"CREATE TABLE '{table}' (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
    database.executemany("INSERT INTO Name VALUES (?, ?, 0)", [("openssh-server", 1), ("nginx", 2), ("docs", 3)])
    directories = [("/usr/lib/systemd/system/", 1), ("/usr/lib/systemd/system/", 2), ("/usr/share/doc/", 3)]
    database.executemany("INSERT INTO Dirnames VALUES (?, ?, 0)", directories)
    names = [("sshd.service", 1), ("sshd", 1), ("nginx.service", 2), ("trap.service", 3)]
    database.executemany("INSERT INTO Basenames VALUES (?, ?, 0)", names)
    database.commit()
    database.close()
    before = sorted(path.parent.iterdir())
    assert units_by_package(tmp_path) == {"sshd.service": Package("openssh-server"), "nginx.service": Package("nginx")}
    assert sorted(path.parent.iterdir()) == before
    path.write_bytes(b"no database" * 100)
    assert units_by_package(tmp_path) == {}


def test_without_packages_there_are_none(tmp_path):
    """A machine without dpkg and rpm has no packages, and nothing ever changes there."""
    assert units_by_package(tmp_path) == {}
    assert changed_at(tmp_path) == changed_at(tmp_path)


async def test_a_unit_is_told_with_the_package_that_brought_it(tmp_path):
    """It is looked up beside the events; instances have the package of their template."""
    root = machine(tmp_path)
    dpkg(root)
    made = processor(root, enrichers=["unit"])
    await made.start()
    here = EntityReference("node", NODE, uid=MACHINE)
    units = [EntityReference("systemd_unit", name, parent=here) for name in ("ssh.service", "ssh@1.service", "other.service")]
    async with asyncio.timeout(10):
        while not made._chain.version:
            await asyncio.sleep(0.01)
    told = made.process([event(unit, source="systemd") for unit in units])
    await made.shutdown()
    assert [one.get("unit_package") for one in told] == ["openssh-server", "openssh-server", None]
    assert told[0].get("unit_package_version") == "1:9.2p1-2"


def test_rivals_are_all_keys_with_the_same_meaning():
    """The key itself, its OTLP name, and whatever sources call it."""
    rivals = rivals_of(["k8s.pod.name", "qos_class"], "journald")
    assert {key for key, added in rivals.items() if added == "k8s.pod.name"} == {"k8s.pod.name", "pod_name"}
    assert "k8s.pod.qos_class" in rivals
