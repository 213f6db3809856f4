"""Whether a policy keeps its accuracy where the images, the question or the options are changed."""
