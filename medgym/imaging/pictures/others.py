"""Names what a file is that medgym does not read, by how it begins."""

_NAMES = {
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"\xff\x0a": "a JPEG XL picture",
    b"8BPS": "a Photoshop picture",
    b"%PDF": "a PDF document",
    b"\x89HDF": "an HDF5 file (MINC 2, ...)",
    b"CDF": "a NetCDF file (MINC 1, ...)",
    b"NRRD": "an NRRD volume",
    b"\x93NUMPY": "a NumPy array",
}
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


def named(head: bytes) -> str | None:
    """What a file is that begins with `head`, and what to do; None where nothing is known."""
    if head.startswith(_PACKED):
        return "packed, and no NIfTI volume; fix: unpack or convert it"
    for start, name in _NAMES.items():
        if head.startswith(start):
            return f"{name}, which medgym does not read; fix: convert it"
    return None
