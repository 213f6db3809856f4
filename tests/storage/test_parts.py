"""A part is believed only when it is what was written: every flipped bit is found."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
from PIL import Image

from medgym.errors import UserError
from medgym.messages import ImagePart
from medgym.storage.parts import KEY, Part, part_bytes
from medgym.storage.run_folder import content
from medgym.storage.trajectories import ImageStore, TrajectoryStore
from medgym.trajectory import ImageUse, Look, Node, Trajectory

PARTS, IMAGES = 450, 150
"""Bits that are flipped, one at a time, in parts and in images."""

SAMPLED = Trajectory(
    "a/train/0", "p", 1, 0, "sampled",
    (
        Node(-1, "user", "Where is it?", tuple(range(40)), (0,) * 40, images=(ImageUse("ab", 0),)),
        Node(0, "assistant", "Left.", (7, 8), (1, 1), (-0.5, -0.25), prompt_hash="c0"),
    ),
    answer="left", correct=True, reward=1.1, terms={"answer": 1.0}, terminated=True,
    looks=(Look("zoom", 0, (1.0, 2.0, 3.0, 4.0), 2.0),), calls=("zoom",), gold="left",
)  # fmt: skip


def flips(data: bytes, count: int, seed: int) -> Sequence[tuple[int, bytes]]:
    """(place, the bytes with that one bit flipped), at places that differ."""
    places = random.Random(seed).sample(range(8 * len(data)), count)
    changed = []
    for place in places:
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        changed.append((place, bytes(flipped)))
    return changed


@pytest.fixture
def store(tmp_path: Path) -> TrajectoryStore:
    made = TrajectoryStore(tmp_path / "trajectories")
    made.write([replace(SAMPLED, seed=seed, case_id=f"a/train/{seed}") for seed in range(3)])
    return made


def refusal(read: Callable[[], object], expected: object) -> str | None:
    """What the reader says where it refuses; None where it reads what is expected."""
    try:
        assert read() == expected
    except UserError as error:
        return str(error)
    return None


def test_no_flipped_bit_of_a_part_is_read_as_other_content(store: TrajectoryStore) -> None:
    (part,) = store.parts()
    whole, written = part.read_bytes(), content(store)
    refused = 0
    for place, flipped in flips(whole, PARTS, seed=0):
        part.write_bytes(flipped)
        said = refusal(lambda: content(store), written)
        refused += said is not None
        line = rf"{part} cannot be read as trajectories \(.*\); fix: [^\n]+"
        assert said is None or re.fullmatch(line, said), (place, said)
    assert refused > 0.98 * PARTS  # the rest are bits of the hash's own name


@pytest.mark.parametrize(
    "read", [len, TrajectoryStore.table, TrajectoryStore.frame, TrajectoryStore.dataset]
)
def test_every_reader_checks(
    store: TrajectoryStore, read: Callable[[TrajectoryStore], object]
) -> None:
    (part,) = store.parts()
    data = bytearray(part.read_bytes())
    data[40] ^= 1
    part.write_bytes(data)
    with pytest.raises(UserError, match=r"part-00000\.parquet cannot be read .*\(its bytes "):
        read(store)


def test_no_flipped_bit_of_an_image_is_seen_as_another_image(tmp_path: Path) -> None:
    images = ImageStore(tmp_path)
    picture = Image.effect_noise((24, 16), 60).convert("RGB")
    name = images.put(ImagePart(0, picture))
    (file,) = tmp_path.rglob("*.png")
    whole = file.read_bytes()
    for place, flipped in flips(whole, IMAGES, seed=1):
        file.write_bytes(flipped)
        said = refusal(lambda: images.get(name).tobytes(), picture.tobytes())
        line = rf"{file} does not hold the pixels of its name; fix: [^\n]+"
        assert said is None or re.fullmatch(line, said), (place, said)


@pytest.mark.parametrize("size", [0, 3, 12, 200, -1])
def test_a_part_that_was_cut_is_refused(store: TrajectoryStore, size: int) -> None:
    (part,) = store.parts()
    part.write_bytes(part.read_bytes()[:size])
    with pytest.raises(UserError, match=r"part-00000\.parquet .*; fix: "):
        list(store)


def test_a_part_of_before_there_was_a_hash_is_read(store: TrajectoryStore) -> None:
    (part,) = store.parts()
    written = list(store)
    assert Part(part).verified
    pyarrow.parquet.write_table(Part(part).table(), part, compression="zstd")
    assert list(store) == written
    assert not Part(part).verified


def test_a_hash_that_a_policy_writes_is_not_the_parts_own(tmp_path: Path) -> None:
    planted = f"{KEY.decode()} medgym.sha256={'0' * 64}"
    store = TrajectoryStore(tmp_path)
    store.write([replace(SAMPLED, answer=planted, policy=planted, failure=planted)])
    assert [trajectory.answer for trajectory in store] == [planted]
    assert Part(store.parts()[0]).verified


def test_a_table_does_not_carry_the_hash_of_the_file_that_it_came_from(
    store: TrajectoryStore,
) -> None:
    (part,) = store.parts()
    table = store.table()
    assert not table.schema.metadata
    part.write_bytes(part_bytes(table))
    assert store.table().equals(table)


def test_other_readers_check_the_pages(store: TrajectoryStore) -> None:
    (part,) = store.parts()
    column = pyarrow.parquet.read_metadata(part).row_group(0).column(0)
    data = bytearray(part.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(OSError, match=r"CRC checksum|corrupt|zstd|ZSTD"):
        pyarrow.parquet.read_table(part, columns=["case_id"], page_checksum_verification=True)


@pytest.mark.parametrize("columns", [{"a": [1]}, {"terms": [3], "nodes": ["x"], "looks": [None]}])
def test_a_foreign_part_is_refused(tmp_path: Path, columns: dict[str, list[object]]) -> None:
    table = pyarrow.table(columns)
    pyarrow.parquet.write_table(table, tmp_path / "part-00000.parquet")
    with pytest.raises(UserError, match=r"part-00000.parquet cannot be read as trajectories"):
        list(TrajectoryStore(tmp_path))


def test_a_copy_of_a_part_is_no_part(store: TrajectoryStore) -> None:
    (part,) = store.parts()
    part.with_name("part-00000 (copy).parquet").write_bytes(part.read_bytes())
    with pytest.raises(UserError, match=r"part-00000 \(copy\).parquet is not named as a part is"):
        list(store)
