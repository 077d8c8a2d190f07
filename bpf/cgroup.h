/* Cgroup paths, read while the cgroup is there: it may be gone when the agent looks. */
#ifndef TAPIO_CGROUP_H
#define TAPIO_CGROUP_H

#include "kernel.h"
#include "records.h"

/* Fill `record` with the id and `names`, behind the first `used` bytes, with those from `cgroup` up to its hierarchy's root, whose
 * own name is left out. A name is read whole or not at all. Return how much of the names is used then. */
static __always_inline __u32 read_cgroup(struct cgroup *cgroup, struct cgroup_record *record, char *names, __u32 used)
{
	struct kernfs_node *node = BPF_CORE_READ(cgroup, kn);
	struct kernfs_node *parent;
	__u32 begin = used;
	long length;

	record->id = BPF_CORE_READ(node, id);
	for (int level = 0; level < PATH_LEVELS; level++) {
		parent = kernfs_parent(node);
		if (!parent || used > NAMES_LENGTH - NAME_LENGTH)
			break;
		length = bpf_probe_read_kernel_str(names + used, NAME_LENGTH, BPF_CORE_READ(node, name));
		if (length <= 0)
			break;
		used += length;
		node = parent;
	}
	record->length = used - begin;
	record->cut = kernfs_parent(node) != NULL;
	record->reserved = 0;
	return used;
}

#endif
