"""DICOM series: a volume whose slices are files of a folder, a zip or a DICOMDIR."""
