/* What a packet and a socket say of a flow. All is read with functions that fail gently, for headers may not be there yet, and
 * pointers may be stale. */
#ifndef TAPIO_PACKET_H
#define TAPIO_PACKET_H

#include "kernel.h"
#include "records.h"

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define MOST_EXTENSIONS 6
#define FRAGMENT_OFFSET 0x1fff
#define FIRST_NAMESPACE 0xe0000000u

enum { HOP_BY_HOP = 0, TCP = 6, UDP = 17, DCCP = 33, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60, SCTP = 132, UDP_LITE = 136 };

struct ipv4_header {
	__u8 version_length;
	__u8 service;
	__be16 total_length;
	__be16 identification;
	__be16 fragment;
	__u8 lifetime;
	__u8 protocol;
	__u16 checksum;
	__u8 source[4];
	__u8 destination[4];
};

struct ipv6_header {
	__u8 version_class;
	__u8 class_label[3];
	__be16 payload_length;
	__u8 next;
	__u8 hop_limit;
	__u8 source[16];
	__u8 destination[16];
};

/* The begin of an IPv6 extension header; of a fragment header all but its identification. */
struct extension_header {
	__u8 next;
	__u8 length;
	__be16 fragment;
};

static __always_inline bool has_ports(__u8 protocol)
{
	return protocol == TCP || protocol == UDP || protocol == SCTP || protocol == DCCP || protocol == UDP_LITE;
}

static __always_inline void read_ports(const unsigned char *transport, struct sample_record *record)
{
	__u16 ports[2];

	if (!has_ports(record->protocol) || bpf_probe_read_kernel(ports, sizeof(ports), transport))
		return;
	record->source_port = ports[0];
	record->destination_port = ports[1];
}

static __always_inline bool read_ipv4(const unsigned char *network, struct sample_record *record)
{
	struct ipv4_header header;

	if (bpf_probe_read_kernel(&header, sizeof(header), network) || header.version_length >> 4 != 4)
		return false;
	record->family = AF_INET;
	record->protocol = header.protocol;
	__builtin_memcpy(record->source, header.source, 4);
	__builtin_memcpy(record->destination, header.destination, 4);
	if (!(header.fragment & bpf_htons(FRAGMENT_OFFSET)))
		read_ports(network + (header.version_length & 15) * 4, record);
	return true;
}

static __always_inline bool is_extension(__u8 protocol)
{
	return protocol == HOP_BY_HOP || protocol == ROUTING || protocol == FRAGMENT || protocol == DESTINATION;
}

static __always_inline bool read_ipv6(const unsigned char *network, struct sample_record *record)
{
	const unsigned char *place = network + sizeof(struct ipv6_header);
	struct extension_header extension;
	struct ipv6_header header;
	__u8 protocol;

	if (bpf_probe_read_kernel(&header, sizeof(header), network) || header.version_class >> 4 != 6)
		return false;
	record->family = AF_INET6;
	__builtin_memcpy(record->source, header.source, 16);
	__builtin_memcpy(record->destination, header.destination, 16);
	protocol = header.next;
	for (int number = 0; number < MOST_EXTENSIONS && is_extension(protocol); number++) {
		if (bpf_probe_read_kernel(&extension, sizeof(extension), place))
			return true;
		place += protocol == FRAGMENT ? 8 : (extension.length + 1) * 8;
		if (protocol == FRAGMENT && extension.fragment & bpf_htons(0xfff8)) {
			record->protocol = extension.next;
			return true;
		}
		protocol = extension.next;
	}
	record->protocol = protocol;
	read_ports(place, record);
	return true;
}

/* Read the flow of a packet whose network header is known; one that has just been received may have only its data. The length
 * becomes that of the whole IP packet, however far it had got. */
static __always_inline bool read_packet(struct sk_buff *skb, struct sample_record *record)
{
	unsigned char *head = BPF_CORE_READ(skb, head), *data = BPF_CORE_READ(skb, data);
	__u16 offset = BPF_CORE_READ(skb, network_header);
	__be16 protocol = BPF_CORE_READ(skb, protocol);
	unsigned char *network = offset && offset != 0xffff ? head + offset : data;
	bool known = false;

	if (protocol == bpf_htons(ETH_P_IP))
		known = read_ipv4(network, record);
	else if (protocol == bpf_htons(ETH_P_IPV6))
		known = read_ipv6(network, record);
	if (known)
		record->length += data - network;
	return known;
}

/* Connections that are being made or forgotten have only the first part of a socket. */
static __always_inline bool is_full(struct sock *sk)
{
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);

	return state != TCP_TIME_WAIT && state != TCP_NEW_SYN_RECV;
}

/* Return the port of a connection's own side, in network order. A socket that is closed has given up its port; what it still sends
 * comes from the same all the same. */
static __always_inline __u16 own_port(struct sock_common *common)
{
	__u16 port = BPF_CORE_READ(common, skc_num);

	if (port || !is_full((struct sock *)common))
		return bpf_htons(port);
	return BPF_CORE_READ((struct inet_sock *)common, inet_sport);
}

/* Read a connection as its own side sees it: what it sends. */
static __always_inline void read_connection(struct sock_common *common, __u8 protocol, struct sample_record *record)
{
	__u16 family = BPF_CORE_READ(common, skc_family);

	if (family == AF_INET) {
		bpf_core_read(record->source, 4, &common->skc_rcv_saddr);
		bpf_core_read(record->destination, 4, &common->skc_daddr);
	} else if (family == AF_INET6) {
		bpf_core_read(record->source, 16, &common->skc_v6_rcv_saddr);
		bpf_core_read(record->destination, 16, &common->skc_v6_daddr);
	} else {
		return;
	}
	record->family = family;
	record->protocol = protocol;
	record->source_port = own_port(common);
	record->destination_port = BPF_CORE_READ(common, skc_dport);
}

/* A packet, or a connection, as the other side sees it. */
static __always_inline void turn_round(struct sample_record *record)
{
	__u16 port = record->source_port;
	__u8 address[16];

	__builtin_memcpy(address, record->source, 16);
	__builtin_memcpy(record->source, record->destination, 16);
	__builtin_memcpy(record->destination, address, 16);
	record->source_port = record->destination_port;
	record->destination_port = port;
}

/* Return the packet's device, or NULL where what stands in its place is none: packets in the queues of sockets keep other things
 * there. A device's namespace has an inode number of /proc's dynamic range (include/linux/proc_ns.h). */
static __always_inline struct net_device *device_of(struct sk_buff *skb)
{
	struct net_device *device = BPF_CORE_READ(skb, dev);

	return device && BPF_CORE_READ(device, nd_net.net, ns.inum) >= FIRST_NAMESPACE ? device : NULL;
}

static __always_inline __u32 socket_netns(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

/* Note whose socket it is. */
static __always_inline void read_owner(struct sock *sk, struct sample_record *record)
{
	if (!is_full(sk))
		return;
	record->uid = BPF_CORE_READ(sk, sk_uid.val);
	record->cgroup = BPF_CORE_READ(sock_cgroup(sk), kn, id);
}

/* Note the interface. */
static __always_inline void read_interface(struct net_device *device, struct sample_record *record)
{
	record->ifindex = BPF_CORE_READ(device, ifindex);
	bpf_core_read(record->interface, INTERFACE_LENGTH, &device->name);
}

#endif
