"""Queues on real disks, under everything that can happen to them."""
