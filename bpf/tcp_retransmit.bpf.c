/* TCP segments that are sent again: all are counted, of some the connection is told. */
#define SLOTS 1
#define SAMPLE_BYTES (64 * 1024)

#include "license.h"
#include "packet.h"
#include "sampling.h"

/* Count a segment and tell the connection of `common`, whose process is that of `sk`. */
static __always_inline int retransmit(struct sock *sk, struct sock_common *common, __u32 length)
{
	struct sample_record *record;
	__u32 netns = socket_netns(sk);

	if (namespace_count && !is_wanted(netns))
		return 0;
	record = count(0, length);
	if (!record)
		return 0;
	record->kind = SAMPLE_RETRANSMIT;
	record->netns = netns;
	record->state = BPF_CORE_READ(common, skc_state);
	read_connection(common, TCP, record);
	read_owner(sk, record);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("tp_btf/tcp_retransmit_skb")
int retransmit_skb(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	struct sk_buff *skb = (void *)ctx[1];

	return retransmit(sk, &sk->__sk_common, BPF_CORE_READ(skb, len));
}

/* The answer to a connection's first packet: there is no socket yet but the one that listens. */
SEC("tp_btf/tcp_retransmit_synack")
int retransmit_synack(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	struct request_sock *request = (void *)ctx[1];

	return retransmit(sk, &request->__req_common, 0);
}
