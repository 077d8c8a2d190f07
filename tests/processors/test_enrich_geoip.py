"""The geoip enricher: what it finds of addresses in databases that are written here, and what becomes of replaced files."""

from __future__ import annotations

import asyncio
import logging
import os
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from opentelemetry.semconv._incubating.attributes import geo_attributes
from pydantic import ValidationError

from tapio_otel.component import ComponentContext, ComponentError, ComponentId, Kind
from tapio_otel.enrichment import EnricherContext
from tapio_otel.event import EntityReference, Origin, Severity, UnifiedEvent
from tapio_otel.processors.enrich import EnrichConfig, EnrichProcessor
from tapio_otel.processors.enrich.geoip import GeoIpEnricher, GeoIpOptions
from tapio_otel.processors.enrich.geoip_addresses import public_address
from tapio_otel.processors.enrich.geoip_database import facts_of

MONTREAL = {
    "continent": {"code": "NA"},
    "country": {"iso_code": "CA", "names": {"en": "Canada"}},
    "subdivisions": [{"iso_code": "QC"}, {"iso_code": "06"}],
    "city": {"names": {"en": "Montreal", "fr": "Montréal"}},
    "location": {"latitude": 45.5, "longitude": -73.5, "time_zone": "America/Toronto"},
    "postal": {"code": "H2X"},
}
BERLIN = {"continent": {"code": "EU"}, "country": {"iso_code": "DE"}, "city": {"names": {"en": "Berlin"}}}
NETWORK = {"autonomous_system_number": 65_001, "autonomous_system_organization": "Example Ltd"}
CANADIAN, GERMAN, GERMAN6 = "8.8.8.8", "9.9.9.9", "2a00:1450::1"


def write(path, networks, version=6):
    """Write a database beside `path` and rename it into its place."""
    writer = MMDBWriter(version, ipv4_compatible=version == 6, database_type="Test", languages=["en"])
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    beside = path.with_suffix(".new")
    writer.to_db_file(str(beside))
    beside.rename(path)
    return str(path)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """Return the path of a city database."""
    networks = {"8.8.8.0/24": MONTREAL, "9.9.9.0/24": BERLIN, "2a00:1450::/32": BERLIN, "10.0.0.0/8": BERLIN}
    return write(tmp_path_factory.mktemp("city") / "city.mmdb", networks)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Return the path of an ASN database, of IPv4 addresses only."""
    return write(tmp_path_factory.mktemp("asn") / "asn.mmdb", {"8.8.8.0/24": NETWORK}, version=4)


class Counters:
    """Count nothing."""

    def add(self, name, amount=1, **attributes):
        """Take a count."""

    def gauge(self, name, read):
        """Take a gauge."""


class Start:
    """Start enrichers and hold them; `reports` is what they said of their health."""

    def __init__(self, state):
        self.reports = []
        self.made = []
        self.state = state

    def context(self):
        """Return the surroundings of a processor."""
        return ComponentContext(ComponentId("enrich"), Kind.PROCESSOR, Counters(), self.state, logging.getLogger("test"))

    async def __call__(self, *databases, overwrite=False, **options):
        """Return a started enricher of these databases."""
        options = GeoIpOptions(databases=list(databases), **options)
        enricher = GeoIpEnricher(EnricherContext("geoip", self.context(), None, overwrite, self.reports.append), options)
        self.made.append(enricher)
        await enricher.start()
        return enricher


@pytest.fixture
async def start(tmp_path):
    """Return a function that starts enrichers, which are shut down in the end."""
    starting = Start(tmp_path / "state")
    yield starting
    for enricher in starting.made:
        await enricher.shutdown()
        await enricher.shutdown()


def enriched(enricher, **attributes):
    """Return the attributes that an event with these gets."""
    event = UnifiedEvent("i", 1, "ebpf", entity=EntityReference("node", "n"), attributes=dict(attributes))
    assert enricher.reads & attributes.keys()
    enricher.enrich_event(event)
    return {key: value for key, value in event.attributes.items() if attributes.get(key) != value}


async def test_a_city_has_every_name_of_the_conventions(start, city, network):
    """With its network, below the name of whose address it is."""
    found = enriched(await start(city, network), src_ip=CANADIAN)
    assert found == {
        "source.geo.continent.code": "NA",
        "source.geo.country.iso_code": "CA",
        "source.geo.region.iso_code": "CA-QC",
        "source.geo.locality.name": "Montreal",
        "source.geo.postal_code": "H2X",
        "source.geo.location.lat": 45.5,
        "source.geo.location.lon": -73.5,
        "source.as.number": 65_001,
        "source.as.organization.name": "Example Ltd",
    }


async def test_the_names_are_those_of_the_registry():
    """All that begin with `geo.`."""
    registry = {value for name, value in vars(geo_attributes).items() if name.isupper() and isinstance(value, str)}
    assert {name for name in facts_of({**MONTREAL, **NETWORK}, "en") if name.startswith("geo.")} <= registry


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        *(("src_ip", "source."), ("source.address", "source."), ("dst_ip", "destination.")),
        *(("destination.address", "destination."), ("client.address", "client."), ("network.peer.address", "network.peer.")),
    ],
)
async def test_what_is_found_is_named_after_the_address(start, city, key, prefix):
    """By whichever key the event has it."""
    found = enriched(await start(city), **{key: GERMAN})
    places = {"geo.continent.code": "EU", "geo.country.iso_code": "DE", "geo.locality.name": "Berlin"}
    assert found == {prefix + name: value for name, value in places.items()}


async def test_both_ends_are_looked_up(start, city):
    """Each has its own names."""
    found = enriched(await start(city), src_ip=CANADIAN, dst_ip=GERMAN6)
    assert (found["source.geo.country.iso_code"], found["destination.geo.country.iso_code"]) == ("CA", "DE")


async def test_plain_names_are_those_of_the_first_address_that_is_known(start, city):
    """As the collector's processor does it."""
    enricher = await start(city, plain_names=True)
    assert enriched(enricher, src_ip=GERMAN, dst_ip=CANADIAN)["geo.country.iso_code"] == "DE"
    assert enriched(enricher, src_ip="10.0.0.1", dst_ip=CANADIAN)["geo.country.iso_code"] == "CA"


async def test_any_attribute_may_be_looked_up(start, city):
    """Its name, without `address` or `ip`, is what the rest begins with."""
    enricher = await start(city, attributes=["remote", "peer.ip"])
    assert enriched(enricher, remote=GERMAN)["remote.geo.country.iso_code"] == "DE"
    assert enriched(enricher, **{"peer.ip": GERMAN})["peer.geo.country.iso_code"] == "DE"
    assert enricher.reads == {"remote", "peer.ip"}


async def test_places_are_named_in_the_language_asked_for(start, city):
    """English where there is no such name."""
    enricher = await start(city, language="fr")
    assert enriched(enricher, src_ip=CANADIAN)["source.geo.locality.name"] == "Montréal"
    assert enriched(enricher, src_ip=GERMAN)["source.geo.locality.name"] == "Berlin"


async def test_an_origin_is_told_once_for_all_its_events(start, city):
    """What an origin's attributes say is added to it."""
    enricher = await start(city)

    class Told:
        attributes: ClassVar = {"src_ip": GERMAN}
        added: ClassVar = {}

        def add(self, key, value):
            self.added[key] = value

    enricher.enrich(Told())
    assert Told.added["source.geo.country.iso_code"] == "DE"


@pytest.mark.parametrize(("overwrite", "expected"), [(False, "said"), (True, "DE")])
async def test_what_an_event_says_stays_unless_asked(start, city, overwrite, expected):
    """The rest is added all the same."""
    enricher = await start(city, overwrite=overwrite)
    event = UnifiedEvent("i", 1, "x", attributes={"src_ip": GERMAN, "source.geo.country.iso_code": "said"})
    enricher.enrich_event(event)
    assert event.attributes["source.geo.country.iso_code"] == expected
    assert event.attributes["source.geo.continent.code"] == "EU"


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "example.com", "", 7, None, ["9.9.9.9"], "9.9.9.9:80"])
async def test_nothing_is_added_where_there_is_no_public_address(start, city, address):
    """Even if a database knows something of it."""
    assert enriched(await start(city), src_ip=address) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((CANADIAN, CANADIAN), (GERMAN6, GERMAN6), ("::ffff:8.8.8.8", CANADIAN), ("::FFFF:808:808", CANADIAN)),
        *(("64:ff9b::808:808", CANADIAN), ("2002:808:808::1", CANADIAN), ("2002:a00:1::1", None), ("64:ff9b::a00:1", None)),
        *(("10.0.0.1", None), ("172.16.0.1", None), ("192.168.1.1", None), ("127.0.0.1", None), ("169.254.1.1", None)),
        *(("100.64.0.1", None), ("192.0.2.1", None), ("198.51.100.7", None), ("203.0.113.9", None), ("198.18.0.1", None)),
        *(("224.0.0.1", None), ("239.1.1.1", None), ("255.255.255.255", None), ("240.0.0.1", None), ("0.0.0.0", None)),
        *(("::", None), ("::1", None), ("fe80::1", None), ("fe80::1%eth0", None), ("fc00::1", None), ("ff0e::1", None)),
        *(("2001:db8::1", None), ("::ffff:127.0.0.1", None), ("08.8.8.8", None), (" 8.8.8.8", None), ("8" * 100, None)),
    ],
)
def test_only_public_addresses_have_a_place(text, expected):
    """Private, loopback, link-local, shared, documentation, multicast and reserved ones have none; inner ones count."""
    assert public_address(text) == (None if expected is None else ip_address(expected))


@given(st.ip_addresses() | st.text(max_size=80) | st.integers() | st.none())
def test_whatever_is_no_public_address_is_none(value):
    """Nothing makes it fail."""
    found = public_address(str(value) if not isinstance(value, int | None) else value)
    assert found is None or (found.is_global and not found.is_multicast)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*MONTREAL, *NETWORK, "names", "en"]), inner),
)


@given(_JSON)
def test_records_of_other_forms_say_less(record):
    """Flat databases of other vendors, say: no error, and only texts and numbers."""
    assert all(isinstance(value, str | int | float) for value in facts_of(record, "en").values())


async def test_ipv6_is_unknown_to_a_database_of_ipv4(start, network):
    """It is no error."""
    assert enriched(await start(network), src_ip=GERMAN6) == {}


async def test_answers_are_kept_up_to_a_bound(start, city):
    """Negative ones, too; the eldest goes."""
    enricher = await start(city, cache_size=2)
    for address in (GERMAN, CANADIAN, "1.1.1.1", "1.1.1.1", "10.0.0.1"):
        enriched(enricher, src_ip=address)
    kept = enricher._find.cache_info()
    assert (kept.hits, kept.misses, kept.currsize) == (1, 4, 2)


async def test_a_replaced_file_is_read(start, tmp_path):
    """The answers that were kept are forgotten, and origins are asked about anew."""
    path = tmp_path / "a.mmdb"
    enricher = await start(write(path, {"9.9.9.0/24": BERLIN}))
    assert enriched(enricher, src_ip=GERMAN)["source.geo.country.iso_code"] == "DE"
    version = enricher.version
    await enricher.refresh()
    assert enricher.version == version
    write(path, {"9.9.9.0/24": MONTREAL})
    await enricher.refresh()
    assert enricher.version > version
    assert enriched(enricher, src_ip=GERMAN)["source.geo.country.iso_code"] == "CA"


async def test_a_replaced_file_is_noticed_without_being_asked(start, tmp_path):
    """After the interval; nothing else is done by hand."""
    path = tmp_path / "a.mmdb"
    enricher = await start(write(path, {"9.9.9.0/24": BERLIN}), reload_interval="1s")
    write(path, {"9.9.9.0/24": MONTREAL})
    async with asyncio.timeout(30):
        while enriched(enricher, src_ip=GERMAN)["source.geo.country.iso_code"] != "CA":
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("fault", ["cut", "empty", "text", "gone", "directory"])
async def test_a_broken_new_file_is_reported_and_the_old_one_stays(start, tmp_path, fault):
    """Once it is whole again, it is read and all is well; the other database is not concerned."""
    path, other = tmp_path / "a.mmdb", tmp_path / "b.mmdb"
    enricher = await start(write(path, {"9.9.9.0/24": BERLIN}), write(other, {"8.8.8.0/24": BERLIN}))
    whole = path.read_bytes()
    path.unlink()
    match fault:
        case "cut":
            path.write_bytes(whole[:-100])
        case "empty" | "text":
            path.write_text("" if fault == "empty" else "no database " * 1000)
        case "directory":
            path.mkdir()
    write(other, {"8.8.8.0/24": MONTREAL})
    await enricher.refresh()
    await enricher.refresh()
    assert enriched(enricher, src_ip=GERMAN)["source.geo.country.iso_code"] == "DE"
    assert enriched(enricher, src_ip=CANADIAN)["source.geo.country.iso_code"] == "CA"
    assert str(path) in start.reports[0]
    assert "stays in use" in start.reports[0]
    assert None not in start.reports
    if fault == "directory":
        path.rmdir()
    write(path, {"9.9.9.0/24": MONTREAL})
    await enricher.refresh()
    assert enriched(enricher, src_ip=GERMAN)["source.geo.country.iso_code"] == "CA"
    assert start.reports[-1] is None


async def test_writing_over_the_file_in_place_harms_nobody(start, tmp_path):
    """A memory map of the file itself would end the process when the file becomes shorter."""
    path = tmp_path / "a.mmdb"
    networks = {f"{first}.0.0.0/8": {**BERLIN, "first": first} for first in range(11, 100)}
    enricher = await start(write(path, networks))
    os.truncate(path, 0)
    assert enriched(enricher, src_ip="99.1.1.1")["source.geo.country.iso_code"] == "DE"


async def test_the_private_copy_leaves_no_file_behind(start, city, tmp_path):
    """Not even while it is in use: a crash leaves nothing."""
    await start(city)
    assert list((tmp_path / "state").iterdir()) == []


async def test_a_damaged_record_is_reported_and_says_nothing(start, tmp_path):
    """The end of the file, by which a database is known, may be whole where the rest is not."""
    path = tmp_path / "a.mmdb"
    write(path, {"9.9.9.0/24": MONTREAL})
    whole = bytearray(path.read_bytes())
    at = whole.index(b"continent") - 1
    whole[at - 1 : at + 10] = b"\xff" * 11
    path.write_bytes(whole)
    enricher = await start(str(path))
    assert enriched(enricher, src_ip=GERMAN) == {}
    assert "damaged" in start.reports[0]


async def test_a_missing_file_is_an_error_that_says_what_to_do(start, tmp_path):
    """Before anything is begun."""
    with pytest.raises(ComponentError, match=r"no database '.*/none\.mmdb': download it .* or take it off `geoip\.databases`"):
        await start(str(tmp_path / "none.mmdb"))
    with pytest.raises(ComponentError, match="is no file"):
        await start(str(tmp_path))


async def test_a_file_that_is_no_database_is_an_error(start, tmp_path):
    """At the start, there is none before it."""
    path = tmp_path / "a.mmdb"
    path.write_text("hello")
    with pytest.raises(ComponentError, match="is no whole MaxMind database"):
        await start(str(path))


async def test_a_state_directory_that_cannot_be_written_is_an_error(start, city):
    """It names the directory."""
    start.state = Path("/proc/none")
    with pytest.raises(ComponentError, match="cannot write in '/proc/none'"):
        await start(city)


async def test_without_databases_nothing_is_read(start):
    """No event is shown to it."""
    enricher = await start()
    assert enricher.reads == frozenset()


async def test_the_enrich_processor_shows_it_origins_and_events(start, city):
    """The places of what an origin says are on all of its events, those of an event's own addresses on that."""
    config = EnrichConfig(kubernetes={"enabled": False}, enrichers=["geoip"], geoip={"databases": [city]})
    processor = EnrichProcessor(start.context(), config)
    await processor.start()
    try:
        origin = Origin(EntityReference("node", "n"), {"src_ip": CANADIAN})
        rows = ({"dst_ip": GERMAN}, {"dst_ip": "10.0.0.1"})
        events = [UnifiedEvent.of_origin(origin, "i", 1, 1, "ebpf", "log", Severity.INFO, "", "", own) for own in rows]
        events = processor.process(events)
    finally:
        await processor.shutdown()
    names = ("source.geo.country.iso_code", "destination.geo.country.iso_code")
    assert [[event.get(name) for name in names] for event in events] == [["CA", "DE"], ["CA", None]]


@pytest.mark.parametrize("options", [{"attributes": []}, {"databases": [""]}, {"cache_size": 0}, {"reload_interval": "1ms"}])
def test_options_without_sense_are_refused(options):
    """By the model."""
    with pytest.raises(ValidationError):
        GeoIpOptions(**options)


async def test_what_is_wrong_with_a_database_and_with_the_cluster_is_told_side_by_side(tmp_path):
    """Neither hides the other, and what is mended is no longer named."""
    path = tmp_path / "a.mmdb"
    write(path, {"9.9.9.0/24": BERLIN})
    whole = path.read_bytes()
    starting = Start(tmp_path / "state")
    context, reports = starting.context(), starting.reports
    context.report = reports.append
    config = {"kubernetes": {"enabled": True, "kubeconfig": str(tmp_path / "absent")}, "geoip": {"databases": [str(path)]}}
    made = EnrichProcessor(context, EnrichConfig.model_validate(config))
    geoip = next(link.enricher for link in made._chain.links if link.name == "geoip")
    await made.start()
    async with asyncio.timeout(20):
        while not reports:
            await asyncio.sleep(0.01)
    path.write_text("no database")
    await geoip.refresh()
    assert "there is no kubeconfig" in reports[-1]
    assert str(path) in reports[-1]
    path.write_bytes(whole)
    await geoip.refresh()
    await made.shutdown()
    assert "there is no kubeconfig" in reports[-1]
    assert str(path) not in reports[-1]


async def test_a_damaged_database_is_no_trouble_any_more_when_it_is_replaced(start, tmp_path):
    """Until then it is, though it is looked at again and again."""
    path = tmp_path / "a.mmdb"
    write(path, {"9.9.9.0/24": MONTREAL})
    whole = bytearray(path.read_bytes())
    at = whole.index(b"continent") - 1
    damaged = whole[: at - 1] + b"\xff" * 11 + whole[at + 10 :]
    path.write_bytes(damaged)
    enricher = await start(str(path))
    enriched(enricher, src_ip=GERMAN)
    await enricher.refresh()
    assert start.reports[-1] is not None
    write(path, {"9.9.9.0/24": BERLIN})
    await enricher.refresh()
    assert start.reports[-1] is None
