"""What a model profile is on this machine, measured and told: in, a profile and a device; out, a :class:`~.records.Check`."""
