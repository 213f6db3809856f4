"""The one seed rule: every source of chance is seeded from what it is for, by a hash.

`seed_of(run seed, case id, role, group member)` differs between members of a group and is the same
in every re-run, in any order, on any number of workers.
"""

import hashlib


def seed_of(*parts: object) -> int:
    """A seed in [0, 2**63) from the `str` of each part (blake2b; the parts' boundaries count)."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        text = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "little") + text)
    return int.from_bytes(digest.digest(), "little") >> 1
