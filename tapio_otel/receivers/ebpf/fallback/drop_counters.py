"""Which counters of the network stack count dropped packets, and the drop reason that the kernel gives such a packet.

Where one reason stands for exactly what a counter counts, its name is the kernel's (enum skb_drop_reason); else it is the
counter's own, in capitals. A counter that includes others tells what is left without them (`minus`). Names of counters: RFC
4293 and 4113, Documentation/networking/snmp_counter.rst; snmp6 has the same ones with a 6 after the protocol.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class DropCounter(NamedTuple):
    """Say what a rise of `counter` means; packets counted by `minus` too are told by those."""

    counter: str
    reason: str
    protocol: str = ""
    minus: tuple[str, ...] = ()


_IP: Final = (
    DropCounter("IpInHdrErrors", "IP_INHDR", minus=("IpExtInCsumErrors",)),
    DropCounter("IpExtInCsumErrors", "IP_CSUM"),
    DropCounter("IpInAddrErrors", "IP_INADDRERRORS"),
    DropCounter("IpInUnknownProtos", "IP_NOPROTO"),
    DropCounter("IpExtInNoRoutes", "IP_INNOROUTES"),
    DropCounter("IpExtInTruncatedPkts", "PKT_TOO_SMALL"),
    DropCounter("IpInDiscards", "IP_IN_DISCARDS"),
    DropCounter("IpOutDiscards", "IP_OUT_DISCARDS"),
    DropCounter("IpOutNoRoutes", "IP_OUTNOROUTES"),
    DropCounter("IpReasmTimeout", "FRAG_REASM_TIMEOUT"),
    DropCounter("IpReasmFails", "IP_REASM_FAILS", minus=("IpReasmTimeout",)),
    DropCounter("IpFragFails", "PKT_TOO_BIG"),
    DropCounter("TcpExtIPReversePathFilter", "IP_RPFILTER"),
    DropCounter("IcmpInCsumErrors", "ICMP_CSUM", "icmp"),
    DropCounter("IcmpInErrors", "ICMP_IN_ERRORS", "icmp", ("IcmpInCsumErrors",)),
)
_IP6: Final = (
    DropCounter("Ip6InHdrErrors", "IP_INHDR"),
    DropCounter("Ip6InTooBigErrors", "PKT_TOO_BIG"),
    DropCounter("Ip6InAddrErrors", "IP_INADDRERRORS"),
    DropCounter("Ip6InUnknownProtos", "IP_NOPROTO"),
    DropCounter("Ip6InNoRoutes", "IP_INNOROUTES"),
    DropCounter("Ip6InTruncatedPkts", "PKT_TOO_SMALL"),
    DropCounter("Ip6InDiscards", "IP_IN_DISCARDS"),
    DropCounter("Ip6OutDiscards", "IP_OUT_DISCARDS"),
    DropCounter("Ip6OutNoRoutes", "IP_OUTNOROUTES"),
    DropCounter("Ip6ReasmTimeout", "FRAG_REASM_TIMEOUT"),
    DropCounter("Ip6ReasmFails", "IP_REASM_FAILS", minus=("Ip6ReasmTimeout",)),
    DropCounter("Ip6FragFails", "PKT_TOO_BIG"),
    DropCounter("Icmp6InCsumErrors", "ICMP_CSUM", "icmpv6"),
    DropCounter("Icmp6InErrors", "ICMP_IN_ERRORS", "icmpv6", ("Icmp6InCsumErrors",)),
)
_TCP: Final = (
    DropCounter("TcpInCsumErrors", "TCP_CSUM", "tcp"),
    DropCounter("TcpInErrs", "TCP_IN_ERRS", "tcp", ("TcpInCsumErrors",)),
    DropCounter("TcpExtListenOverflows", "TCP_LISTEN_OVERFLOW", "tcp"),
    DropCounter("TcpExtTCPReqQFullDrop", "TCP_REQ_QUEUE_FULL", "tcp"),
    DropCounter("TcpExtListenDrops", "TCP_LISTEN_DROPS", "tcp", ("TcpExtListenOverflows", "TcpExtTCPReqQFullDrop")),
    DropCounter("TcpExtTCPBacklogDrop", "SOCKET_BACKLOG", "tcp"),
    DropCounter("TcpExtPFMemallocDrop", "PFMEMALLOC", "tcp"),
    DropCounter("TcpExtTCPMinTTLDrop", "TCP_MINTTL", "tcp"),
    DropCounter("TcpExtTCPZeroWindowDrop", "TCP_ZEROWINDOW", "tcp"),
    DropCounter("TcpExtTCPRcvQDrop", "PROTO_MEM", "tcp"),
    DropCounter("TcpExtTCPOFODrop", "TCP_OFO_DROP", "tcp"),
    DropCounter("TcpExtOfoPruned", "TCP_OFO_QUEUE_PRUNE", "tcp"),
    DropCounter("TcpExtBeyondWindow", "TCP_BEYOND_WINDOW", "tcp"),
    DropCounter("TcpExtPAWSEstab", "TCP_RFC7323_PAWS", "tcp"),
    DropCounter("TcpExtPAWSOldAck", "TCP_RFC7323_PAWS_ACK", "tcp"),
    DropCounter("TcpExtPAWSTimewait", "TCP_RFC7323_TW_PAWS", "tcp"),
    DropCounter("TcpExtTSEcrRejected", "TCP_RFC7323_TSECR", "tcp"),
    DropCounter("TcpExtTCPMD5NotFound", "TCP_MD5NOTFOUND", "tcp"),
    DropCounter("TcpExtTCPMD5Unexpected", "TCP_MD5UNEXPECTED", "tcp"),
    DropCounter("TcpExtTCPMD5Failure", "TCP_MD5FAILURE", "tcp"),
    DropCounter("TcpExtTCPAORequired", "TCP_AONOTFOUND", "tcp"),
    DropCounter("TcpExtTCPAOKeyNotFound", "TCP_AOKEYNOTFOUND", "tcp"),
    DropCounter("TcpExtTCPAOBad", "TCP_AOFAILURE", "tcp"),
)


def _udp(prefix: str, protocol: str) -> tuple[DropCounter, ...]:
    told = (f"{prefix}RcvbufErrors", f"{prefix}MemErrors", f"{prefix}InCsumErrors")
    return (
        DropCounter(f"{prefix}NoPorts", "NO_SOCKET", protocol),
        DropCounter(f"{prefix}RcvbufErrors", "SOCKET_RCVBUFF", protocol),
        DropCounter(f"{prefix}MemErrors", "PROTO_MEM", protocol),
        DropCounter(f"{prefix}InCsumErrors", "UDP_CSUM", protocol),
        DropCounter(f"{prefix}InErrors", "UDP_IN_ERRORS", protocol, told),
    )


DROP_COUNTERS: Final = (
    *_IP,
    *_IP6,
    *_TCP,
    *_udp("Udp", "udp"),
    *_udp("Udp6", "udp"),
    *_udp("UdpLite", "udplite"),
    *_udp("UdpLite6", "udplite"),
)
"""Every counter of snmp, snmp6 and netstat that counts packets dropped."""

RETRANSMITTED: Final = DropCounter("TcpRetransSegs", "")
RESET_SENT: Final = DropCounter("TcpOutRsts", "")
RESET_RECEIVED: Final = DropCounter(
    "TcpEstabResets",
    "",
    minus=("TcpExtTCPAbortOnClose", "TcpExtTCPAbortOnData", "TcpExtTCPAbortOnMemory", "TcpExtTCPAbortOnTimeout"),
)
"""No counter counts resets received. Established connections that ended at once are those reset by the other end and those
given up at this end; the latter are counted apart. Connection attempts that are refused are not among them."""

DEVICE_RECEIVE: Final = "DEVICE_RX_DROPPED"
DEVICE_TRANSMIT: Final = "DEVICE_TX_DROPPED"
"""What drivers and devices drop, by /proc/net/dev; the kernel gives no reason."""
BACKLOG: Final = "CPU_BACKLOG"
"""What /proc/net/softnet_stat counts: a CPU's queue of received packets was full (net.core.netdev_max_backlog)."""

COUNTED_REASONS: Final = frozenset({*(one.reason for one in DROP_COUNTERS), DEVICE_RECEIVE, DEVICE_TRANSMIT, BACKLOG})
"""Every reason that is told of drops by counters."""
