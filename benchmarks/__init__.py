"""What medgym costs, each figure beside a rival's, measured in the same run: `medgym bench`."""
