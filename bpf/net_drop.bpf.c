/* Packets that the kernel drops: all are counted by reason, some are looked at. */
#define SLOTS 1024
#define SAMPLE_BYTES (512 * 1024)

#include "license.h"
#include "packet.h"
#include "sampling.h"

/* A reason is a number of the kernel's own, with the part of the kernel that made it in the upper half (6.4, 071c0fc6fb91, "net:
 * extend drop reasons for multiple subsystems"). Some parts and some numbers each have a slot. */
#define SUBSYSTEMS 4
#define REASONS (SLOTS / SUBSYSTEMS)
#define OTHER (SLOTS - 1) /* unknown, and what has no slot */

static __always_inline __u32 slot_of(__u32 reason)
{
	__u32 subsystem = reason >> 16, number = reason & 0xffff;

	return subsystem < SUBSYSTEMS && number < REASONS ? subsystem * REASONS + number : OTHER;
}

static __always_inline __u32 netns_of(struct net_device *device, struct sock *sk)
{
	if (device)
		return BPF_CORE_READ(device, nd_net.net, ns.inum);
	return sk ? socket_netns(sk) : 0;
}

/* Return the packet's socket; where it was to be received, that which it did not reach. */
static __always_inline struct sock *socket_of(__u64 *ctx, struct sk_buff *skb)
{
	struct sock *sk = BPF_CORE_READ(skb, sk);

	if (!sk && kfree_skb_passes_socket())
		sk = (void *)ctx[3];
	return sk;
}

/* Messages between processes of this machine (unix, netlink) are packets to the kernel too. They have no protocol; but neither
 * have packets that a connection could not send for want of a route. */
static __always_inline bool is_local(struct sk_buff *skb)
{
	struct sock *sk;
	__u16 family;

	if (skb->protocol)
		return false;
	sk = BPF_CORE_READ(skb, sk);
	family = sk ? BPF_CORE_READ(sk, __sk_common.skc_family) : 0;
	return family != AF_INET && family != AF_INET6;
}

static __always_inline void fill(struct sk_buff *skb, struct sock *sk, struct sample_record *record)
{
	struct net_device *device = device_of(skb);

	record->kind = SAMPLE_DROP;
	record->netns = netns_of(device, sk);
	if (!read_packet(skb, record) && sk && is_full(sk))
		read_connection(&sk->__sk_common, BPF_CORE_READ(sk, sk_protocol), record);
	if (device)
		read_interface(device, record);
	if (sk)
		read_owner(sk, record);
}

SEC("tp_btf/kfree_skb")
int kfree_skb(__u64 *ctx)
{
	struct sk_buff *skb = (void *)ctx[0];
	struct sample_record *record;
	__u32 reason = UNKNOWN, slot;

	if (kfree_skb_passes_reason())
		reason = ctx[2];
	slot = slot_of(reason);
	if (slot >= SLOTS || limits[slot] == IGNORED || is_local(skb))
		return 0;
	if (namespace_count && !is_wanted(netns_of(device_of(skb), socket_of(ctx, skb))))
		return 0;
	record = count(slot, skb->len);
	if (!record)
		return 0;
	record->reason = reason;
	fill(skb, socket_of(ctx, skb), record);
	bpf_ringbuf_submit(record, 0);
	return 0;
}
