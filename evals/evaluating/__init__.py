"""What `medgym eval` does, step by step: open benchmarks, play, judge, write, print."""
