/* The kernel's types, as far as the probes read them, and every difference between kernel versions.
 *
 * Declared here rather than dumped from a running kernel, so that the objects can be built on any machine: members may stand in
 * any order and at any offset, since libbpf finds them by name in the BTF of the kernel that loads the program (CO-RE). A type
 * with three underscores in its name is the same type in another version: libbpf ignores what follows them. Each type that a
 * program reads from must be in every kernel: for one that is not, libbpf (1.1) searches the modules, which takes CAP_SYS_ADMIN.
 *
 * The probes need Linux 5.8 (ring buffer, bpf_ktime_get_boot_ns, CAP_BPF).
 */
#ifndef TAPIO_KERNEL_H
#define TAPIO_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed short __s16;
typedef signed int __s32;
typedef signed long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;

#define true 1
#define false 0

/* include/uapi/linux/bpf.h: the stable numbers of the kernel's ABI. */
enum {
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_RB_NO_WAKEUP = 1,
};

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	long counter;
} atomic_long_t;

typedef struct {
	__u32 val;
} kuid_t;

/* cgroups */

struct kernfs_node {
	struct kernfs_node *parent;
	const char *name;
	__u64 id;
};

struct kernfs_node___rcu {
	struct kernfs_node___rcu *__parent;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup_subsys_state;

struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_subsys_state *subsys[16];
	struct cgroup_root *root;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

/* The running kernel's numbers are asked for by bpf_core_enum_value(). */
enum cgroup_subsys_id {
	cpu_cgrp_id,
	memory_cgrp_id,
};

struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};

/* memory */

struct page_counter {
	atomic_long_t usage;
	unsigned long max;
};

struct mem_cgroup {
	struct cgroup_subsys_state css;
	struct page_counter memory;
	struct page_counter memsw;
	bool oom_lock; /* while the limit of this cgroup, or of one above it, is dealt with */
};

struct percpu_counter {
	__s64 count;
};

struct mm_rss_stat {
	atomic_long_t count[4];
};

struct mm_struct {
	unsigned long total_vm;
	atomic_long_t pgtables_bytes;
	struct percpu_counter rss_stat[4];
};

struct mm_struct___before_6_2 {
	struct mm_rss_stat rss_stat;
};

struct signal_struct {
	short oom_score_adj;
};

struct trace_event_raw_mark_victim {
	__u32 uid;
};

/* tasks and scheduling */

struct sched_entity {
	__u64 sum_exec_runtime;
};

struct hrtimer {
	void *function;
};

struct cfs_bandwidth {
	__s64 period;
	__u64 quota;
	__u8 period_active;
	struct hrtimer period_timer;
	int nr_periods;
	int nr_throttled;
	__u64 throttled_time;
};

struct task_group {
	struct cgroup_subsys_state css;
	struct sched_entity **se;
	struct cfs_bandwidth cfs_bandwidth;
};

struct task_struct {
	unsigned int flags;
	int tgid;
	struct task_struct *group_leader;
	__u64 start_boottime;
	char comm[16];
	struct mm_struct *mm;
	struct signal_struct *signal;
	struct css_set *cgroups;
	struct task_group *sched_task_group;
};

/* network */

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	char name[16];
	int ifindex;
	possible_net_t nd_net;
};

struct in6_addr {
	__u8 s6_addr[16];
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	unsigned char skc_state;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct sock_cgroup_data___before_5_16 {
	__u64 val;
};

struct sock {
	struct sock_common __sk_common;
	kuid_t sk_uid;
	__u16 sk_protocol;
	struct sock_cgroup_data sk_cgrp_data;
};

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct request_sock {
	struct sock_common __req_common;
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned int len;
	__be16 protocol;
	__u16 transport_header;
	__u16 network_header;
	unsigned int tail;
	unsigned char *head;
	unsigned char *data;
};

/* The values are the running kernel's: they differ between versions. A member of another kind would count as missing. */
enum skb_drop_reason { SKB_NOT_DROPPED_YET };

struct trace_event_raw_kfree_skb {
	void *rx_sk;
	enum skb_drop_reason reason;
};

#pragma clang attribute pop

enum { MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES }; /* include/linux/mm_types_task.h */
enum { TCP_TIME_WAIT = 6, TCP_NEW_SYN_RECV = 12 };              /* include/net/tcp_states.h */
enum { AF_INET = 2, AF_INET6 = 10 };
enum { PF_KTHREAD = 0x00200000 };

/* Linux 6.15 renamed kernfs_node.parent (633488947ef6, "kernfs: Use RCU to access kernfs_node::parent"). */
static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *node)
{
	struct kernfs_node___rcu *newer = (void *)node;

	if (bpf_core_field_exists(newer->__parent))
		return (void *)BPF_CORE_READ(newer, __parent);
	return BPF_CORE_READ(node, parent);
}

/* Linux 6.2 made the counters per CPU (f1a7941243c1, "mm: convert mm's rss stats into percpu_counter"). What is read is the
 * approximate sum, as in the kernel's own "Killed process" line; it may be below zero for a moment. A macro, because the place
 * of an array's member can be found only for a constant index. */
#define mm_pages(mm, which)                                                                     \
	({                                                                                      \
		struct mm_struct___before_6_2 *older = (void *)(mm);                            \
		__s64 pages = bpf_core_field_exists(older->rss_stat.count)                      \
				      ? BPF_CORE_READ(older, rss_stat.count[which].counter)     \
				      : BPF_CORE_READ(mm, rss_stat[which].count);               \
		pages > 0 ? pages : 0;                                                          \
	})

/* Linux 6.9 passes mark_victim the task and its uid (72ba14deb40a, "mm: Update mark_victim tracepoints fields", also in some
 * stable kernels); before it was the pid alone. */
static __always_inline bool mark_victim_passes_task(void)
{
	return bpf_core_field_exists(struct trace_event_raw_mark_victim, uid);
}

/* Linux 5.16 left only the pointer (8520e224f547, "bpf, cgroups: Fix cgroup v2 fallback on v1/v2 mixed mode"); before, the
 * lowest bit told that there is a net_cls id instead. */
static __always_inline struct cgroup *sock_cgroup(struct sock *sk)
{
	struct sock_cgroup_data___before_5_16 *older;
	__u64 value = 0;

	if (bpf_core_field_exists(sk->sk_cgrp_data.cgroup))
		return BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	older = (void *)&sk->sk_cgrp_data;
	bpf_core_read(&value, sizeof(value), &older->val);
	return value & 1 ? NULL : (struct cgroup *)value;
}

/* Linux 5.17 tells why a packet was dropped (c504e5c2f964, "net: skb: introduce kfree_skb_reason()"). */
static __always_inline bool kfree_skb_passes_reason(void)
{
	return bpf_core_field_exists(struct trace_event_raw_kfree_skb, reason);
}

/* Linux 6.11 passes the receiving socket, which the packet itself does not know yet (c53795d48ee8, "net: add rx_sk to
 * trace_kfree_skb"). */
static __always_inline bool kfree_skb_passes_socket(void)
{
	return bpf_core_field_exists(struct trace_event_raw_kfree_skb, rx_sk);
}

#endif
