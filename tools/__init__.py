"""What can be done to an image: one file for each tool, each registered in `medgym.tools`."""
