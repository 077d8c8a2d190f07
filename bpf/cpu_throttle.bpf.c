/* CPU throttling: how long a cgroup's processes had to wait because its quota was used up, summed over windows.
 *
 * A cgroup's bandwidth has a timer that expires every period while its processes run. At the begin of each expiry all that was
 * throttled before has been counted, but not the period itself; so a cgroup that was never seen is noted there, with totals
 * from before its first throttling, and there a window is closed. At the end of each expiry in which something was throttled the
 * totals are kept for the agent, which closes windows whose timer has stopped. A cgroup that is removed has its window closed at
 * once.
 *
 * What a cgroup had counted before the programs were attached is left out, and so is what it counts between its attachment and
 * its first expiry (at most one period).
 */
#define RING_BYTES (256 * 1024)

#include "cgroup.h"
#include "license.h"
#include "ring.h"

#define MOST_CPUS 1024

/* The cgroup used least recently gives way when there are too many, so those that are gone do not stay. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct throttle_window);
} windows SEC(".maps");

const volatile __u64 window_ns = 10ull * 1000 * 1000 * 1000;
const volatile __u32 cpus = 1; /* possible CPUs */

static void *period_timer; /* the timers' function */

/* Makes the record's type part of the object's BTF, where the tests compare it with the agent's. */
const struct throttle_record *const volatile throttle_record_type = NULL;

/* Tell whether a timer is of a cgroup's bandwidth. Its function's address is that in the bandwidth of whatever task is running,
 * since every task group has one, the root's included; /proc/kallsyms would take CAP_SYSLOG. */
static __always_inline bool is_period_timer(struct hrtimer *timer)
{
	struct task_struct *task;

	if (!period_timer) {
		task = (void *)bpf_get_current_task();
		period_timer = BPF_CORE_READ(task, sched_task_group, cfs_bandwidth.period_timer.function);
	}
	return timer->function && timer->function == period_timer;
}

static __always_inline struct task_group *group_of(struct hrtimer *timer)
{
	struct cfs_bandwidth *bandwidth = container_of(timer, struct cfs_bandwidth, period_timer);

	return container_of(bandwidth, struct task_group, cfs_bandwidth);
}

/* Return the CPU time that the group's processes have used, in ns, or 0 where the kernel keeps it in another way. */
static __noinline __u64 runtime_of(struct task_group *group)
{
	struct sched_entity **entities, *entity;
	__u64 sum = 0;

	if (!bpf_core_field_exists(group->se))
		return 0;
	entities = BPF_CORE_READ(group, se);
	for (__u32 cpu = 0; cpu < MOST_CPUS && cpu < cpus; cpu++) {
		if (bpf_probe_read_kernel(&entity, sizeof(entity), &entities[cpu]))
			break;
		sum += BPF_CORE_READ(entity, sum_exec_runtime);
	}
	return sum;
}

static __always_inline void read_counts(struct task_group *group, __u64 time, struct throttle_totals *totals)
{
	totals->time = time;
	totals->throttled = BPF_CORE_READ(group, cfs_bandwidth.throttled_time);
	totals->periods = BPF_CORE_READ(group, cfs_bandwidth.nr_periods);
	totals->throttled_periods = BPF_CORE_READ(group, cfs_bandwidth.nr_throttled);
}

static __always_inline void read_totals(struct task_group *group, __u64 time, struct throttle_totals *totals)
{
	read_counts(group, time, totals);
	totals->runtime = runtime_of(group);
}

/* Note a cgroup that was never seen, and tell its path, for the agent may close its first window after it has gone. */
static __always_inline void begin_first(__u64 id, struct task_group *group, __u64 time)
{
	struct throttle_window first = {};
	struct throttle_record *record;

	read_totals(group, time, &first.begin);
	bpf_map_update_elem(&windows, &id, &first, BPF_NOEXIST);
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record)
		return;
	record->window = first;
	read_cgroup(BPF_CORE_READ(group, css.cgroup), &record->cgroup, record->names, 0);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
}

static __always_inline bool submit(struct throttle_window *window, struct cgroup *cgroup)
{
	struct throttle_record *record = reserve_record(sizeof(*record));

	if (!record)
		return false;
	record->window = *window;
	read_cgroup(cgroup, &record->cgroup, record->names, 0);
	bpf_ringbuf_submit(record, 0);
	return true;
}

/* Close a window, and tell of it if anything was throttled. It ended when the timer stopped, if it did: then nothing was counted
 * since. Where there is no room to tell of it, it goes on. */
static __always_inline void close_window(struct throttle_window *window, struct task_group *group, __u64 time)
{
	struct throttle_totals now;

	read_totals(group, time, &now);
	if (window->end.time <= window->begin.time || window->end.periods != now.periods || !window->end.runtime)
		window->end = now;
	window->end.throttled = now.throttled;
	window->quota = BPF_CORE_READ(group, cfs_bandwidth.quota);
	window->period = BPF_CORE_READ(group, cfs_bandwidth.period);
	if (now.throttled_periods == window->begin.throttled_periods && now.throttled == window->begin.throttled)
		window->begin = now;
	else if (submit(window, BPF_CORE_READ(group, css.cgroup)))
		window->begin = now;
}

SEC("tp_btf/hrtimer_expire_entry")
int expire_entry(__u64 *ctx)
{
	struct hrtimer *timer = (void *)ctx[0];
	struct throttle_window *window;
	struct task_group *group;
	__u64 id, time;

	if (!is_period_timer(timer))
		return 0;
	group = group_of(timer);
	id = BPF_CORE_READ(group, css.cgroup, kn, id);
	/* The totals are those of the expiry before. */
	time = bpf_ktime_get_boot_ns() - BPF_CORE_READ(group, cfs_bandwidth.period);
	window = bpf_map_lookup_elem(&windows, &id);
	if (!window)
		begin_first(id, group, time);
	else if (time - window->begin.time >= window_ns)
		close_window(window, group, time);
	return 0;
}

SEC("tp_btf/hrtimer_expire_exit")
int expire_exit(__u64 *ctx)
{
	struct hrtimer *timer = (void *)ctx[0];
	struct throttle_window *window;
	struct task_group *group;
	__u64 id;

	if (!is_period_timer(timer))
		return 0;
	group = group_of(timer);
	id = BPF_CORE_READ(group, css.cgroup, kn, id);
	window = bpf_map_lookup_elem(&windows, &id);
	if (!window || window->begin.throttled_periods == BPF_CORE_READ(group, cfs_bandwidth.nr_throttled))
		return 0;
	read_counts(group, bpf_ktime_get_boot_ns(), &window->end);
	/* Its sum over all CPUs is taken only where the window may end here. */
	window->end.runtime = BPF_CORE_READ(group, cfs_bandwidth.period_active) ? 0 : runtime_of(group);
	window->quota = BPF_CORE_READ(group, cfs_bandwidth.quota);
	window->period = BPF_CORE_READ(group, cfs_bandwidth.period);
	return 0;
}

/* What a cgroup's last window has counted can be told no later: its timer does not expire any more. */
SEC("tp_btf/cgroup_rmdir")
int cgroup_removed(__u64 *ctx)
{
	struct cgroup *cgroup = (void *)ctx[0];
	int which = bpf_core_enum_value(enum cgroup_subsys_id, cpu_cgrp_id);
	struct cgroup_subsys_state *css = BPF_CORE_READ(cgroup, subsys[which]);
	__u64 id = BPF_CORE_READ(cgroup, kn, id);
	struct throttle_window *window = bpf_map_lookup_elem(&windows, &id);

	if (window && css)
		close_window(window, container_of(css, struct task_group, css), bpf_ktime_get_boot_ns());
	return 0;
}
