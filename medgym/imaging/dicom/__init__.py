"""DICOM images: pixels as the file stores them, and what the standard says that they mean."""
