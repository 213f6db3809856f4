"""The groups and pairs of a run: rolled out by the policy that learns, or stored before."""
