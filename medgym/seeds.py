"""The one rule for seeds: a random generator's seed is a hash of what the generator is for.

`seed_of(run seed, case id, role, group member)` differs between the members of a group. It is the
same in every re-run, in any order and with any number of workers.
"""

import hashlib


def seed_of(*parts: object) -> int:
    """A seed in [0, 2**63) from the `str` of each part (blake2b; the parts' boundaries count)."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        text = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "little") + text)
    return int.from_bytes(digest.digest(), "little") >> 1
