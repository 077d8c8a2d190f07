"""Drop reasons: what the kernel's names mean, in plain words, and how bad each is.

The names are those of the kernel's `enum skb_drop_reason` (include/net/dropreason-core.h) without prefix, and those that are
given to the network stack's counters where no single reason stands for what they count. Whether something is
at fault that somebody should look at is our judgement: exhausted room and damaged packets are, a filter's decision is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from tapio_otel.event import Severity


class Meaning(NamedTuple):
    """Say what a reason means; `exhausted` where room or memory ran out, so that numbers make it worse."""

    severity: Severity
    words: str
    exhausted: bool = False


EXHAUSTED: Final[Mapping[str, str]] = {
    "SOCKET_RCVBUFF": "the receiving socket's buffer was full, its process reads too slowly",
    "SOCKET_BACKLOG": "the receiving socket's backlog was full",
    "PROTO_MEM": "the protocol's memory limit was reached",
    "NOMEM": "the kernel had no memory for it",
    "PFMEMALLOC": "only the memory reserved for swapping was left",
    "QDISC_DROP": "the interface's queue was full",
    "QDISC_OVERLIMIT": "the interface's queue was over its limit",
    "QDISC_CONGESTED": "the interface's queue was congested",
    "FQ_BAND_LIMIT": "the interface's queue was over the limit of its band",
    "FQ_FLOW_LIMIT": "the interface's queue was over the limit of one flow",
    "CAKE_FLOOD": "the interface's queue found the flow to be a flood",
    "DUALPI2_STEP_DROP": "the interface's queue was over its threshold",
    "CPU_BACKLOG": "a CPU's queue of received packets was full",
    "FULL_RING": "a device's ring was full",
    "NEIGH_QUEUEFULL": "too many packets waited for the neighbour's address",
    "TCP_LISTEN_OVERFLOW": "the listening socket's queue was full, its process accepts too slowly",
    "TCP_LISTEN_DROPS": "the listening socket could not take the connection",
    "TCP_REQ_QUEUE_FULL": "the listening socket's queue of connections being opened was full",
    "TCP_OFO_QUEUE_PRUNE": "the queue of segments out of order was cut for want of memory",
    "TCP_OFO_DROP": "the queue of segments out of order had no room",
    "TCP_ZEROWINDOW": "the receiver had closed its window",
    "IP_IN_DISCARDS": "there was no room for it on arrival",
    "IP_OUT_DISCARDS": "there was no room for it on departure",
    "DEVICE_TX_DROPPED": "the device or its driver had no room to send it",
}
FAULTY: Final[Mapping[str, str]] = {
    "PKT_TOO_SMALL": "the packet was too small for its headers",
    "PKT_TOO_BIG": "the packet was too big",
    "HDR_TRUNC": "the packet's header was cut off",
    "TCP_CSUM": "the TCP checksum was wrong",
    "UDP_CSUM": "the UDP checksum was wrong",
    "ICMP_CSUM": "the ICMP checksum was wrong",
    "IP_CSUM": "the IP checksum was wrong",
    "SKB_CSUM": "the checksum could not be computed",
    "IP_INHDR": "the IP header was wrong",
    "IP_RPFILTER": "the reverse path filter found it came in by the wrong interface",
    "IP_OUTNOROUTES": "there is no route to its destination",
    "IP_INNOROUTES": "there is no route for it",
    "IP_INADDRERRORS": "its address is none of this machine's and it is not forwarded",
    "IP_INVALID_SOURCE": "its source address is not allowed",
    "IP_INVALID_DEST": "its destination address is not allowed",
    "IPV6DISABLED": "IPv6 is switched off on the interface",
    "NEIGH_CREATEFAIL": "no entry for the neighbour could be made",
    "NEIGH_FAILED": "the neighbour does not answer",
    "NEIGH_DEAD": "the neighbour's entry has gone",
    "DEV_READY": "the interface was not ready",
    "ICMP_IN_ERRORS": "the ICMP message was wrong",
    "TCP_IN_ERRS": "the TCP header was wrong",
    "UDP_IN_ERRORS": "the UDP datagram could not be delivered",
    "IP_REASM_FAILS": "its fragments could not be put together",
    "FRAG_REASM_TIMEOUT": "not all fragments came in time",
    "XFRM_POLICY": "an IPsec policy refuses it",
    "SECURITY_HOOK": "a security module refused it",
    "TCP_AUTH_HDR": "its TCP authentication was wrong",
    "TCP_MD5NOTFOUND": "its TCP signature was missing",
    "TCP_MD5UNEXPECTED": "it has a TCP signature that nobody asked for",
    "TCP_MD5FAILURE": "its TCP signature was wrong",
    "TCP_AONOTFOUND": "its TCP authentication option was missing",
    "TCP_AOUNEXPECTED": "it has a TCP authentication option that nobody asked for",
    "TCP_AOKEYNOTFOUND": "the key of its TCP authentication option is not known",
    "TCP_AOFAILURE": "its TCP authentication option was wrong",
    "RECURSION_LIMIT": "it went round through too many devices",
}
ORDINARY: Final[Mapping[str, str]] = {
    "NETFILTER_DROP": "a netfilter rule (nftables, iptables) drops it",
    "NO_SOCKET": "no socket takes it at its destination port",
    "SOCKET_CLOSE": "the socket was closed with data unread",
    "SOCKET_FILTER": "the socket's filter refused it",
    "BPF_CGROUP_EGRESS": "a BPF program of the cgroup refused it",
    "TC_INGRESS": "traffic control dropped it on arrival",
    "TC_EGRESS": "traffic control dropped it on departure",
    "XDP": "an XDP program dropped it",
    "OTHERHOST": "it was meant for another machine",
    "IP_NOPROTO": "nothing handles its protocol",
    "UNHANDLED_PROTO": "nothing handles its protocol",
    "UNICAST_IN_L2_MULTICAST": "a single address came in a broadcast frame",
    "TCP_RESET": "it carried a valid reset",
    "TCP_CLOSE": "the connection was closed",
    "TCP_FLAGS": "its TCP flags did not fit the connection's state",
    "TCP_OLD_DATA": "it carried data that had come before",
    "TCP_OLD_ACK": "it acknowledged what had been acknowledged",
    "TCP_OVERWINDOW": "it lay beyond the receiver's window",
    "TCP_INVALID_SEQUENCE": "its TCP sequence number was out of range",
    "TCP_INVALID_SYN": "it carried a SYN within an open connection",
    "TCP_BEYOND_WINDOW": "it lay beyond the receiver's window",
    "TCP_RFC7323_PAWS": "its TCP timestamp was too old",
    "TCP_RFC7323_PAWS_ACK": "its TCP timestamp was too old",
    "TCP_RFC7323_TW_PAWS": "its TCP timestamp was too old for a connection just closed",
    "TCP_RFC7323_TSECR": "it echoed a TCP timestamp that was never sent",
    "TCP_MINTTL": "it came from further away than the socket allows",
    "DEVICE_RX_DROPPED": "the device, its driver or the layer above did not take it",
    "QUEUE_PURGE": "its queue was emptied",
    "TAP_FILTER": "the tap device's filter refused it",
    "IPV6_NDISC_NS_OTHERHOST": "it asked for another machine's address",
}

_MEANINGS: Final[Mapping[str, Meaning]] = {
    **{name: Meaning(Severity.NOTICE, words) for name, words in ORDINARY.items()},
    **{name: Meaning(Severity.WARNING, words) for name, words in FAULTY.items()},
    **{name: Meaning(Severity.WARNING, words, exhausted=True) for name, words in EXHAUSTED.items()},
}
_OTHER: Final = Meaning(Severity.NOTICE, "")


def drop_meaning(reason: str) -> Meaning:
    """Return what a reason means; one that the table lacks is a notice without words."""
    return _MEANINGS.get(reason, _OTHER)
