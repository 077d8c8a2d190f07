"""The fault suite: what is promised about loss and repeats, shown on a real agent, a real journal and a real collector.

`make faults` runs it; every scenario adds a row to a table (and to a JSON file where TAPIO_FAULT_REPORT names one): entries
written, delivered, repeated, refused by the backend, lost, and the most memory the agent took. The short form is part of the
ordinary tests; TAPIO_FAULT_KILLS, TAPIO_FAULT_OUTAGE and TAPIO_FAULT_DAMAGES make it as long as one likes.
"""
