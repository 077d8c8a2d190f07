/* The records that the programs hand to the agent; tapio_otel/receivers/ebpf/records.py reads them.
 *
 * No implicit padding, so that the layout is the same for both sides; times are CLOCK_BOOTTIME in ns; 0 stands for unknown
 * unless said otherwise.
 */
#ifndef TAPIO_RECORDS_H
#define TAPIO_RECORDS_H

#define COMM_LENGTH 16
#define INTERFACE_LENGTH 16
#define PATH_LEVELS 32
#define NAME_LENGTH 256 /* the longest name that the kernel takes, and its end */
#define NAMES_LENGTH (1024 + NAME_LENGTH)
#define UNKNOWN 0xffffffffu

/* A cgroup, whose path is `length` bytes of the names at the record's end: its own first, each with a 0 behind it. `cut`: there
 * were more, which would not fit. */
struct cgroup_record {
	__u64 id;
	__u16 length;
	__u16 cut;
	__u32 reserved;
};

enum {
	OOM_HAS_VICTIM = 1, /* the kernel passed the victim, not its pid alone */
	OOM_HAS_LIMIT = 2,  /* a cgroup's limit was hit */
};

/* Memory in pages, but page_tables in bytes. The cgroup whose limit was hit is `limit_above` levels above memory_cgroup, which is
 * the victim's; or, where the kernel passed no victim, that of the process that asked for memory. The names are those of cgroup,
 * then of memory_cgroup; where both are the same, as in cgroup v2, it has none of its own. */
struct oom_record {
	__u64 time;
	__u64 start_boottime;
	__u64 total_vm;
	__u64 anon;
	__u64 file;
	__u64 shmem;
	__u64 page_tables;
	__u64 limit;
	__u64 usage;
	__u32 flags;
	__u32 pid;
	__u32 uid;
	__u32 trigger_pid;
	__s32 oom_score_adj;
	__u32 limit_above;
	__u64 limit_cgroup;
	char comm[COMM_LENGTH];
	char trigger_comm[COMM_LENGTH];
	struct cgroup_record cgroup;
	struct cgroup_record memory_cgroup;
	char names[NAMES_LENGTH];
};

/* What a cgroup's bandwidth has counted since it was made; `runtime` is 0 where it was not looked at. */
struct throttle_totals {
	__u64 time;
	__u64 throttled;
	__u64 runtime;
	__u32 periods;
	__u32 throttled_periods;
};

/* A window: the totals at its begin and at its end, and the limit of `quota` ns each `period` ns. */
struct throttle_window {
	struct throttle_totals begin;
	struct throttle_totals end;
	__u64 quota;
	__u64 period;
};

/* A window that has ended; or, with an end that is all 0, only the path of a cgroup that was seen for the first time. */
struct throttle_record {
	struct throttle_window window;
	struct cgroup_record cgroup;
	char names[NAMES_LENGTH];
};

enum sample_kind {
	SAMPLE_DROP,
	SAMPLE_RETRANSMIT,
	SAMPLE_RESET_SENT,
	SAMPLE_RESET_RECEIVED,
};

/* One packet; what differs between two packets of a flow comes first, so that the rest is a flow's key. Ports and addresses in
 * network order; an IPv4 address is the first four bytes. */
struct sample_record {
	__u64 time;
	__u32 length;
	__u32 reserved;
	__u64 cgroup;
	__u32 kind;
	__u32 reason; /* UNKNOWN where the kernel does not tell */
	__u32 netns;
	__u32 ifindex;
	__u32 uid; /* UNKNOWN without a socket */
	__u16 family;
	__u8 protocol;
	__u8 state;
	__u16 source_port;
	__u16 destination_port;
	__u8 source[16];
	__u8 destination[16];
	char interface[INTERFACE_LENGTH];
	__u32 reserved_end;
};

/* Counts of one CPU for one slot; a slot is a drop reason, or a kind of sample. */
struct tally {
	__u64 count;
	__u64 bytes;
	__u64 suppressed;
	__u64 ring_full;
	__u64 second;
	__u64 sampled;
};

#endif
