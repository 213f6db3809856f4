"""MedMNIST v2 as questions: `medmnist,set=pathmnist:test`.

Every set asks one question of each of its images, in every size that is published: a choice among
the set's classes, by the publisher's own names for them. Two sets differ:

- chestmnist has several labels for an image, or none. It is one question with a set of findings as
  its answer. An image without any has the answer "no finding".
- retinamnist grades. Its options are the grades 0 to 4.

The sets whose names end in 3d are volumes. Which way the axes of their arrays run in the patient is
not published, so their planes are called `axis-0`, `axis-1` and `axis-2`. A case starts in the
middle of `axis-0`.

An .npz file is packed. The images of a split are unpacked once, into `medgym/arrays` in the user's
cache folder, and mapped from there.

Patients are not published, so the group of a case is its image, which is the same in every size.
"""

from typing import ClassVar

import numpy as np

from medgym.cases import Case, CaseKey
from medgym.errors import UserError, unknown
from medgym.imaging.study import ImageRef, ImagingStudy, Study
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.published import PublishedSource
from medgym.sources.rows import RowCases
from medgym.sources.studies.array_study import ArrayStudy
from medgym.sources.studies.array_uris import array_path, array_uri
from medgym.sources.studies.arrays import shape_of, shared_array, small_array
from medgym.sources.studies.medmnist_sets import SETS, MedSet
from medgym.uris import file_uri

AXES = {"axis-0": 0, "axis-1": 1, "axis-2": 2}
NO_FINDING = "no finding"
_SPLITS = ("train", "val", "test")
_RECORD = "https://zenodo.org/records/10519652/files"


def file_name(name: str, size: int) -> str:
    """The file of a set in a size: `pathmnist.npz`, `pathmnist_64.npz`."""
    return f"{name}.npz" if size == 28 else f"{name}_{size}.npz"


def _files() -> tuple[PublishedFile, ...]:
    made = []
    for name, its in SETS.items():
        for size, md5 in its.md5.items():
            path = file_name(name, size)
            url = f"{_RECORD}/{path}?download=1"
            made.append(PublishedFile(path, url=url, optional=True, md5=md5))
    return tuple(made)


class MedMNIST(PublishedSource):
    """MedMNIST v2 (MedMNIST+), every set and size.

    Args:
        set: the set, such as `pathmnist` or `organmnist3d`.
        size: 28, 64, 128 or 224 pixels; volumes 28 or 64.
        data, counts: see `PublishedSource`.
    """

    name: ClassVar[str] = "medmnist"
    splits = _SPLITS
    regrouped = ()  # nothing says which images are of one patient
    card = Card(
        name="medmnist",
        title="MedMNIST v2 (MedMNIST+): 12 sets of images and 6 of volumes",
        home="https://medmnist.com",
        repo=None,
        revision="Zenodo record 10519652",
        licence="CC BY 4.0; DermaMNIST CC BY-NC 4.0; each source set has terms of its own",
        citation="Yang et al., MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D "
        "biomedical image classification, Scientific Data 10:41 (2023)",
        splits={
            split: SplitCounts(sum(each.counts[at] for each in SETS.values()), origin="card")
            for at, split in enumerate(_SPLITS)
        },
        files=_files(),
        grouping="the image: patients are not published, and some have images in two splits",
        layout="SET.npz or SET_SIZE.npz, as the publisher's package fetches them",
        faults=(
            "Zenodo record 6496656 has other images of organamnist, organcmnist and organsmnist: "
            "a copy of it is refused by its counts",
            "chestmnist has images without any label: their answer is 'no finding'",
            "the axes of the volumes are not said to be planes of the patient",
            "the labels of chestmnist were found in reports by a program, and many are wrong",
        ),
        leaks=(
            "patients are not published: two splits of a MedMNIST set may share them "
            "(dermamnist has images of one lesion in several splits)",
        ),
    )

    def __init__(
        self,
        set: str | None = None,
        size: str = "28",
        data: str | None = None,
        counts: str = "published",
    ) -> None:
        if set is None:
            raise UserError(
                f"medmnist has {len(SETS)} sets; fix: name one, such as "
                f"medmnist,set=breastmnist:test ({', '.join(SETS)})"
            )
        if set not in SETS:
            raise unknown("set of medmnist", set, tuple(SETS))
        self.set, self.of = set, SETS[set]
        sizes = tuple(map(str, self.of.md5))
        if size not in sizes:
            raise unknown(f"size of {set}", size, sizes)
        self.size = int(size)
        super().__init__(data, counts)

    def expected_counts(self, split: str) -> SplitCounts:
        """Those of the set."""
        return SplitCounts(self.of.counts[_SPLITS.index(split)], origin="card")

    def load(self, split: str) -> RowCases[int]:
        """See `PublishedSource.load`. The rows are the numbers of the images."""
        path = self.file(file_name(self.set, self.size))
        labels = small_array(path, f"{split}_labels")
        shape = shape_of(path, f"{split}_images")
        width = len(self.of.classes) if not self.of.question else 1
        side = (self.size,) * (3 if self.set.endswith("3d") else 2)
        colours = (3,) if self.of.colours else ()
        if labels.shape != (shape[0], width) or shape[1:] != side + colours:
            raise UserError(
                f"{path} holds {split} images of shape {shape} and labels of shape "
                f"{labels.shape}, where {self.set} in size {self.size} has "
                f"{('n', *side, *colours)} and {('n', width)}; fix: fetch it again"
            )
        most = len(self.of.classes) - 1 if self.of.question else 1
        uri = array_uri(self.name, file_uri(path))
        member = f"{split}_images"

        def fault(row: int) -> str | None:
            wrong = [int(each) for each in labels[row] if not 0 <= int(each) <= most]
            return f"the label {wrong[0]} is that of no class" if wrong else None

        def make(row: int) -> Case:
            image = ImageRef(uri=uri, member=f"{member}/{row}")
            if len(side) == 3:
                image = image.model_copy(update={"plane": "axis-0", "index": self.size // 2})
            question, options, answer = asked(self.of, [int(each) for each in labels[row]])
            return Case(
                id=key(row).id,
                images=(image,),
                question=question,
                options=options,
                answer=answer,
                answer_type="choice" if options else "set",
                modality=self.of.modality,
                group=key(row).group,
                source=self.name,
                split=split,
                licence=self.of.licence,
            )

        def key(row: int) -> CaseKey:
            return CaseKey(
                f"medmnist/{split}/{self.set}-{self.size}-{row:06d}",
                self.name,
                f"{self.set}/{split}/{row:06d}",
            )

        def place(row: int) -> str:
            return f"{split} image {row} of {path.name}"

        return RowCases(
            range(shape[0]),
            make,
            place,
            fault,
            suspects=np.flatnonzero((labels > most).any(axis=1)).tolist(),
            key=key,
            unique_ids=True,
        )

    @classmethod
    def open_image(cls, ref: ImageRef) -> Study | ImagingStudy:
        """See `Source.open_image`. `member` is ARRAY/NUMBER."""
        path = array_path(cls.name, ref.uri)
        key, _, number = (ref.member or "").partition("/")
        name = path.name.removesuffix(".npz").partition("_")[0]
        if not number.isdecimal() or name not in SETS:
            raise UserError(
                f"{ref.uri!r} with member {ref.member!r} is no image of medmnist; fix: write the "
                "URI of a set's .npz file, and the member ARRAY/NUMBER"
            )
        images = shared_array(path, key)
        if int(number) >= len(images):
            raise UserError(
                f"{key} of {path} has {len(images):,} images, and no number {number}; fix: name "
                "one that is there"
            )
        pixels = images[int(number)]
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
            raise UserError(f"{key} of {path} holds no bytes of images; fix: fetch it again")
        if name.endswith("3d"):
            return ArrayStudy(f"{path}, {ref.member}", pixels, AXES, SETS[name].modality)
        return Study(pixels.copy(), modality=SETS[name].modality)


def asked(of: MedSet, label: list[int]) -> tuple[str, tuple[str, ...], str]:
    """What is asked of an image, its options and its answer."""
    if of.question:
        return of.question, of.classes, of.classes[label[0]]
    found = [name for name, is_there in zip(of.classes, label, strict=True) if is_there]
    question = (
        f"Which of these findings does this chest radiograph show: {', '.join(of.classes)}? "
        f"Name all of them, separated by commas, or answer '{NO_FINDING}'."
    )
    return question, (), ", ".join(found) or NO_FINDING
