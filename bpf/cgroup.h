/* Cgroup paths, read while the cgroup is there: it may be gone when the agent looks. */
#ifndef TAPIO_CGROUP_H
#define TAPIO_CGROUP_H

#include "kernel.h"
#include "records.h"

/* Fill `record` with the id and the names from `cgroup` up to its hierarchy's root, whose own name is left out. */
static __always_inline void read_cgroup(struct cgroup *cgroup, struct cgroup_record *record)
{
	struct kernfs_node *node = BPF_CORE_READ(cgroup, kn);
	struct kernfs_node *parent;
	long length;
	int level;

	record->id = BPF_CORE_READ(node, id);
	record->cut = 0;
	record->reserved = 0;
	for (level = 0; level < PATH_LEVELS; level++) {
		parent = kernfs_parent(node);
		if (!parent)
			break;
		length = bpf_probe_read_kernel_str(record->names[level], NAME_LENGTH, BPF_CORE_READ(node, name));
		if (length < 0 || length >= NAME_LENGTH)
			record->cut = 1;
		if (length < 0)
			record->names[level][0] = 0;
		node = parent;
	}
	if (level == PATH_LEVELS && kernfs_parent(node))
		record->cut = 1;
	record->levels = level;
}

/* Say that there is no cgroup to tell. */
static __always_inline void no_cgroup(struct cgroup_record *record)
{
	record->id = 0;
	record->levels = 0;
	record->cut = 0;
	record->reserved = 0;
}

#endif
