"""What has pixels: a study's files, images read when they are first needed, drawing."""
