/* TCP resets, sent and received: all are counted, of some the connection is told. */
#define SLOTS 2
#define SAMPLE_BYTES (64 * 1024)

#include "license.h"
#include "packet.h"
#include "sampling.h"

enum { SENT, RECEIVED }; /* the slots */

/* Linux 6.10 tells why a reset was sent (b533fb9cf4f7, "rstreason: make it work in trace world"). The agent sees whether this
 * kernel does: older ones have neither the type of the tracepoint nor that of the reason, so none of them can be asked for here. */
const volatile bool passes_reason = false;

static __always_inline void read_socket(struct sock *sk, struct sample_record *record)
{
	record->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	read_owner(sk, record);
}

/* There may be no socket, or no packet (6.10, 19822a980e19, "trace: tcp: fully support trace_tcp_send_reset"). A packet is that
 * to which the reset is the answer; older kernels also pass the reset itself before it has headers. */
SEC("tp_btf/tcp_send_reset")
int send_reset(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	struct sk_buff *skb = (void *)ctx[1];
	struct net_device *device = skb ? device_of(skb) : NULL;
	struct sample_record *record;
	__u32 netns = 0;

	if (sk)
		netns = socket_netns(sk);
	else if (device)
		netns = BPF_CORE_READ(device, nd_net.net, ns.inum);
	if (namespace_count && !is_wanted(netns))
		return 0;
	record = count(SENT, 0);
	if (!record)
		return 0;
	record->kind = SAMPLE_RESET_SENT;
	record->netns = netns;
	if (passes_reason)
		record->reason = ctx[2];
	if (skb && read_packet(skb, record))
		turn_round(record);
	else if (sk)
		read_connection(&sk->__sk_common, TCP, record);
	if (sk)
		read_socket(sk, record);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int receive_reset(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	struct sample_record *record;
	__u32 netns = socket_netns(sk);

	if (namespace_count && !is_wanted(netns))
		return 0;
	record = count(RECEIVED, 0);
	if (!record)
		return 0;
	record->kind = SAMPLE_RESET_RECEIVED;
	record->netns = netns;
	read_connection(&sk->__sk_common, TCP, record);
	turn_round(record);
	read_socket(sk, record);
	bpf_ringbuf_submit(record, 0);
	return 0;
}
