"""What exporters have in common, against real servers on loopback."""
