"""Sources of cases, one file each, registered in the entry-point group `medgym.sources`."""
