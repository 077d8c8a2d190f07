/* OOM kills: who was chosen to die, and whose limit was hit. */
#include "cgroup.h"
#include "license.h"
#include "ring.h"

#define HIERARCHY_LEVELS 32
#define ALMOST 256 /* pages that a limit may be away from the usage and count as hit: a charge is made in batches */

/* Makes the record's type part of the object's BTF, where the tests compare it with the agent's. */
const struct oom_record *const volatile oom_record_type = NULL;

static __always_inline struct cgroup_subsys_state *memory_css(struct task_struct *task)
{
	int which = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);

	return BPF_CORE_READ(task, cgroups, subsys[which]);
}

static __always_inline bool is_hit(struct page_counter *counter, struct oom_record *record)
{
	__u64 usage = BPF_CORE_READ(counter, usage.counter);
	__u64 max = BPF_CORE_READ(counter, max);

	if (usage + ALMOST < max)
		return false;
	record->limit = max;
	record->usage = usage;
	return true;
}

/* Memory and swap together have a limit of their own in cgroup v1; in v2 the same memory holds the counter of swap. */
static __always_inline bool is_limit_hit(struct cgroup_subsys_state *css, struct cgroup *unified, struct oom_record *record)
{
	struct mem_cgroup *memory = container_of(css, struct mem_cgroup, css);

	if (is_hit(&memory->memory, record))
		return true;
	if (BPF_CORE_READ(css, cgroup, root) == BPF_CORE_READ(unified, root))
		return false;
	return is_hit(&memory->memsw, record);
}

static __always_inline bool is_below(struct cgroup_subsys_state *css, struct cgroup_subsys_state *above)
{
	for (int level = 0; level < HIERARCHY_LEVELS && css; level++) {
		if (css == above)
			return true;
		css = BPF_CORE_READ(css, parent);
	}
	return false;
}

/* Return the first memory cgroup from `css` up that is full, and note its limit and usage. */
static __always_inline struct cgroup_subsys_state *first_full(struct cgroup_subsys_state *css, struct cgroup *unified,
							      struct oom_record *record)
{
	for (int level = 0; level < HIERARCHY_LEVELS && css; level++) {
		if (is_limit_hit(css, unified, record))
			return css;
		css = BPF_CORE_READ(css, parent);
	}
	return NULL;
}

/* Find the cgroup whose limit was hit. Where the task that asked for memory is not below the one that is full, it cannot have
 * hit that limit: the machine's memory was exhausted. Kernel threads, though, charge the cgroups of others. */
static __always_inline void find_limit(struct task_struct *victim, struct task_struct *trigger, struct oom_record *record)
{
	struct cgroup *unified = BPF_CORE_READ(victim, cgroups, dfl_cgrp);
	struct cgroup_subsys_state *css = first_full(memory_css(victim), unified, record);

	if (!css)
		return;
	if (!(BPF_CORE_READ(trigger, flags) & PF_KTHREAD) && !is_below(memory_css(trigger), css))
		return;
	record->flags |= OOM_HAS_LIMIT;
	read_cgroup(BPF_CORE_READ(css, cgroup), &record->limit_cgroup);
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
	read_cgroup(BPF_CORE_READ(victim, cgroups, dfl_cgrp), &record->cgroup);
	read_cgroup(BPF_CORE_READ(memory_css(victim), cgroup), &record->memory_cgroup);
}

SEC("tp_btf/mark_victim")
int mark_victim(__u64 *ctx)
{
	struct task_struct *trigger = (void *)bpf_get_current_task();
	struct oom_record *record = reserve_record(sizeof(*record));
	struct task_struct *victim;

	if (!record)
		return 0;
	__builtin_memset(record, 0, __builtin_offsetof(struct oom_record, cgroup));
	record->time = bpf_ktime_get_boot_ns();
	record->uid = UNKNOWN;
	no_cgroup(&record->cgroup);
	no_cgroup(&record->memory_cgroup);
	no_cgroup(&record->limit_cgroup);
	record->trigger_pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(record->trigger_comm, COMM_LENGTH);
	if (mark_victim_passes_task()) {
		victim = (void *)ctx[0];
		record->uid = ctx[1];
		read_victim(victim, record);
		find_limit(victim, trigger, record);
	} else {
		/* Whoever asked for memory is below the limit that it hit. */
		record->pid = ctx[0];
		find_limit(trigger, trigger, record);
	}
	bpf_ringbuf_submit(record, 0);
	return 0;
}
