/* Counting all, looking at some: every packet is counted on its CPU, and the first few a second are looked at closely.
 *
 * An including program defines SLOTS, the number of things that are counted apart, and SAMPLE_BYTES, the room for samples between
 * two readings, a power of two (it is mapped twice into the agent's memory). What does not get a sample costs a lookup in
 * an array and some additions. Only the first sample after a reading makes the ring's descriptor readable, so the agent that
 * waits before it reads is woken once for all that come meanwhile, and not at all while nothing happens.
 */
#ifndef TAPIO_SAMPLING_H
#define TAPIO_SAMPLING_H

#include "kernel.h"
#include "records.h"

#define IGNORED UNKNOWN
#define SECOND 1000000000ull
#define MOST_NAMESPACES 64

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SAMPLE_BYTES);
} samples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

/* Which slots were ever counted in, so that the agent need not read the others. Bytes, because atomic bits take Linux 5.12. */
struct used_slots {
	__u8 slot[SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct used_slots);
} used SEC(".maps");

/* Samples a second, on each CPU, by slot; IGNORED for what is not even counted. */
const volatile __u32 limits[SLOTS] = {};

/* Inode numbers of the network namespaces that are looked at; all if there are none. */
const volatile __u32 namespaces[MOST_NAMESPACES] = {};
const volatile __u32 namespace_count = 0;

/* Makes the types part of the object's BTF, where the tests compare them with the agent's. */
const struct sample_record *const volatile sample_record_type = NULL;

static __always_inline bool is_wanted(__u32 netns)
{
	for (__u32 index = 0; index < MOST_NAMESPACES && index < namespace_count; index++)
		if (namespaces[index] == netns)
			return true;
	return false;
}

static __always_inline void mark_used(__u32 slot)
{
	__u32 key = 0;
	struct used_slots *slots = bpf_map_lookup_elem(&used, &key);

	if (slots && slot < SLOTS)
		slots->slot[slot] = 1;
}

/* Count a packet and return a record for it if one may be taken. Atomic because an interrupt may drop packets in between. */
static __always_inline struct sample_record *count(__u32 slot, __u32 length)
{
	struct tally *tally = bpf_map_lookup_elem(&tallies, &slot);
	struct sample_record *record;
	__u64 now;

	if (!tally)
		return NULL;
	if (!tally->count)
		mark_used(slot);
	__sync_fetch_and_add(&tally->count, 1);
	__sync_fetch_and_add(&tally->bytes, length);
	now = bpf_ktime_get_ns();
	if (now - tally->second >= SECOND) {
		tally->second = now;
		tally->sampled = 0;
	}
	if (tally->sampled >= limits[slot]) {
		__sync_fetch_and_add(&tally->suppressed, 1);
		return NULL;
	}
	record = bpf_ringbuf_reserve(&samples, sizeof(*record), 0);
	if (!record) {
		__sync_fetch_and_add(&tally->ring_full, 1);
		return NULL;
	}
	tally->sampled++;
	__builtin_memset(record, 0, sizeof(*record));
	record->time = bpf_ktime_get_boot_ns();
	record->length = length;
	record->reason = UNKNOWN;
	record->uid = UNKNOWN;
	return record;
}

#endif
