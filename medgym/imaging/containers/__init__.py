"""Images that have no file of their own: members of a zip, cells of a Parquet file, data URIs."""
