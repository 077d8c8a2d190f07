/* OOM kills: who was chosen to die, and whose limit was hit.
 *
 * The tracepoint tells only the victim. The limit that was hit is that of a memory cgroup which holds both the victim and the
 * task that asked for memory. The kernel marks the whole tree below that limit for as long as it deals with it, so the highest
 * cgroup that is marked is the one. Where none is marked (a kernel without cgroup v1, or two limits of one tree hit at once) it
 * is the cgroup with the least left below its limit. Where all have more left, the machine's memory was exhausted.
 */
#define RING_BYTES (512 * 1024)

#include "cgroup.h"
#include "license.h"
#include "ring.h"

#define HIERARCHY_LEVELS 32
#define ALMOST 256 /* pages that may be left below a limit that was hit: others may have freed some since */
#define MARKED (-(1ll << 62)) /* less than can be left */

/* Makes the record's type part of the object's BTF, where the tests compare it with the agent's. */
const struct oom_record *const volatile oom_record_type = NULL;

static __always_inline struct cgroup_subsys_state *memory_css(struct task_struct *task)
{
	int which = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);

	return BPF_CORE_READ(task, cgroups, subsys[which]);
}

static __always_inline __u64 parent_of(__u64 css)
{
	return (__u64)BPF_CORE_READ((struct cgroup_subsys_state *)css, parent);
}

/* The functions with loops are global and take numbers, so that the kernel checks each by itself, whatever it is called with:
 * together they are more than it would follow. */
__noinline __u32 depth_of(__u64 css)
{
	__u32 depth = 0;

	for (; depth < HIERARCHY_LEVELS && css; depth++)
		css = parent_of(css);
	return depth;
}

/* Return the lowest cgroup that holds both. */
__noinline __u64 common_ancestor(__u64 one, __u64 other)
{
	__u32 depth = depth_of(one), other_depth = depth_of(other);

	for (int level = 0; level < HIERARCHY_LEVELS && one != other; level++) {
		bool is_deeper = depth >= other_depth, is_shallower = depth <= other_depth;

		if (is_deeper) {
			one = parent_of(one);
			depth--;
		}
		if (is_shallower) {
			other = parent_of(other);
			other_depth--;
		}
	}
	return one == other ? one : 0;
}

/* Return the pages that may still be charged. Limits are far from what would overflow. */
static __always_inline __s64 left_of(struct page_counter *counter)
{
	return BPF_CORE_READ(counter, max) - BPF_CORE_READ(counter, usage.counter);
}

/* Return which of a cgroup's counters has less left: that of memory, or that of memory and swap together, which has a limit of its
 * own in cgroup v1; in v2 the same memory holds the counter of swap. */
static __always_inline struct page_counter *fuller(struct cgroup_subsys_state *css, struct cgroup_root *unified)
{
	struct mem_cgroup *memory = container_of(css, struct mem_cgroup, css);
	bool is_v2 = BPF_CORE_READ(css, cgroup, root) == unified;

	return is_v2 || left_of(&memory->memory) <= left_of(&memory->memsw) ? &memory->memory : &memory->memsw;
}

/* Return what is left to a cgroup in pages, or MARKED. */
__noinline __s64 left_to(__u64 which, __u64 unified)
{
	struct cgroup_subsys_state *css = (void *)which;
	struct mem_cgroup *memory = container_of(css, struct mem_cgroup, css);

	if (bpf_core_field_exists(memory->oom_lock) && BPF_CORE_READ(memory, oom_lock))
		return MARKED;
	return left_of(fuller(css, (void *)unified));
}

/* Return the cgroup from `css` up whose limit was hit, 0 where none was. */
__noinline __u64 limited(__u64 css, __u64 unified)
{
	__s64 least = ALMOST + 1, left;
	__u64 found = 0;

	for (int level = 0; level < HIERARCHY_LEVELS && css; level++) {
		left = left_to(css, unified);
		if (left < least || left == MARKED) {
			least = left;
			found = css;
		}
		css = parent_of(css);
	}
	return found;
}

/* Find the cgroup whose limit was hit: it holds the victim, and the task that asked unless that is a kernel thread, which may ask
 * in the name of others. */
static __always_inline void find_limit(struct task_struct *victim, struct task_struct *asking, struct oom_record *record)
{
	struct cgroup_root *unified = BPF_CORE_READ(victim, cgroups, dfl_cgrp, root);
	__u64 own = (__u64)memory_css(victim), common = own;
	struct cgroup_subsys_state *css;
	struct page_counter *counter;

	if (!(BPF_CORE_READ(asking, flags) & PF_KTHREAD))
		common = common_ancestor(own, (__u64)memory_css(asking));
	css = (void *)limited(common, (__u64)unified);
	if (!css)
		return;
	counter = fuller(css, unified);
	record->flags |= OOM_HAS_LIMIT;
	record->limit = BPF_CORE_READ(counter, max);
	record->usage = BPF_CORE_READ(counter, usage.counter);
	record->limit_above = depth_of(own) - depth_of((__u64)css);
	record->limit_cgroup = BPF_CORE_READ(css, cgroup, kn, id);
}

static __always_inline void read_victim(struct task_struct *victim, struct oom_record *record)
{
	struct mm_struct *mm = BPF_CORE_READ(victim, mm);

	record->flags |= OOM_HAS_VICTIM;
	record->pid = BPF_CORE_READ(victim, tgid);
	record->start_boottime = BPF_CORE_READ(victim, group_leader, start_boottime);
	record->oom_score_adj = BPF_CORE_READ(victim, signal, oom_score_adj);
	BPF_CORE_READ_INTO(&record->comm, victim, comm);
	record->total_vm = BPF_CORE_READ(mm, total_vm);
	record->page_tables = BPF_CORE_READ(mm, pgtables_bytes.counter);
	record->anon = mm_pages(mm, MM_ANONPAGES);
	record->file = mm_pages(mm, MM_FILEPAGES);
	record->shmem = mm_pages(mm, MM_SHMEMPAGES);
}

static __always_inline void read_cgroups(struct task_struct *task, struct oom_record *record)
{
	struct cgroup *unified = BPF_CORE_READ(task, cgroups, dfl_cgrp), *memory = BPF_CORE_READ(memory_css(task), cgroup);
	__u32 used = read_cgroup(unified, &record->cgroup, record->names, 0);

	if (memory == unified)
		record->memory_cgroup.id = record->cgroup.id;
	else
		read_cgroup(memory, &record->memory_cgroup, record->names, used);
}

SEC("tp_btf/mark_victim")
int mark_victim(__u64 *ctx)
{
	struct task_struct *asking = (void *)bpf_get_current_task(), *victim = asking;
	struct oom_record *record = reserve_record(sizeof(*record));

	if (!record)
		return 0;
	__builtin_memset(record, 0, __builtin_offsetof(struct oom_record, names));
	record->time = bpf_ktime_get_boot_ns();
	record->uid = UNKNOWN;
	record->trigger_pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(record->trigger_comm, COMM_LENGTH);
	if (mark_victim_passes_task()) {
		victim = (void *)ctx[0];
		record->uid = ctx[1];
		read_victim(victim, record);
	} else {
		record->pid = ctx[0]; /* its cgroups are unknown, but whoever asked is below the limit as well */
	}
	find_limit(victim, asking, record);
	read_cgroups(victim, record);
	bpf_ringbuf_submit(record, 0);
	return 0;
}
