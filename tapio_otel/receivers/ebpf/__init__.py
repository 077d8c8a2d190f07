"""The `ebpf` receiver: what the kernel knows and no log tells, at a cost nobody notices."""
