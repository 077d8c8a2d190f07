/* The ring buffer of rare occurrences: each wakes the agent.
 *
 * An including program defines RING_BYTES, the room for what happens while the agent does not read, a power of two. Of the agent's
 * memory it takes only what was ever used.
 */
#ifndef TAPIO_RING_H
#define TAPIO_RING_H

#include "kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} records SEC(".maps");

/* How many records there was no room for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} ring_full SEC(".maps");

static __always_inline void *reserve_record(__u64 size)
{
	void *record = bpf_ringbuf_reserve(&records, size, 0);
	__u32 key = 0;
	__u64 *lost;

	if (record)
		return record;
	lost = bpf_map_lookup_elem(&ring_full, &key);
	if (lost)
		__sync_fetch_and_add(lost, 1);
	return NULL;
}

#endif
