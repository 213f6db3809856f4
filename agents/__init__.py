"""Who acts: scripted policies and model back ends. Registered in `medgym.policies`."""
