"""Your own data: a table, a folder, images in memory, a data set of the Hub."""
