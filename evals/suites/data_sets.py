"""A suite for each published data set about pictures: its evaluation split, and why that one.

Where splits share images or patients as they were published, the split `-clean` stands beside it,
in which no group is in two splits. It is the one to read where a policy was trained on the set.
"""

from medgym.sources.studies.medmnist_sets import SETS
from medgym.suite import Suite

from .protocols import of_pictures


def vqa_rad() -> Suite:
    """VQA-RAD: test, 451 questions, and test-clean.

    All test images are in the published training split too, so that `test` measures a policy that
    was trained on VQA-RAD on images that it has seen. `test-clean` does not. The copy is the Hub's,
    where only yes and no are closed.
    """
    return of_pictures("vqa-rad", {"test": "vqa-rad:test", "test-clean": "vqa-rad:test-clean"})


def slake() -> Suite:
    """SLAKE: the English test, 1,061 questions, and test-clean of both languages.

    Papers report the English test, and within one language no image is in two splits. Across the
    languages images are: a policy that learned from Chinese training questions has seen some of the
    English test. `test-clean` is of both languages, dealt again by image.
    """
    return of_pictures(
        "slake", {"test": "slake:test", "test-clean": "slake,language=en+zh:test-clean"}
    )


def path_vqa() -> Suite:
    """PathVQA: test, 6,719 questions, the published one; half of them yes or no."""
    return of_pictures("path-vqa", {"test": "path-vqa:test"})


def pmc_vqa() -> Suite:
    """PMC-VQA: the 2,000 test questions that people checked, and 2,000 of test-clean.

    Papers that say test mean one of three sets; the checked one has the fewest faults. Figures of
    one article are in both splits, as published. `test-clean` is the test of version 1 dealt again
    by article, its first 2,000 questions; it has nothing to do with the checking by people.
    """
    return of_pictures(
        "pmc-vqa",
        {"test": "pmc-vqa,version=clean:test", "test-clean": "pmc-vqa:test-clean[:2000]"},
    )


def vqa_med_2019() -> Suite:
    """VQA-Med 2019: test, 500 questions, the one that the task ranked."""
    return of_pictures("vqa-med-2019", {"test": "vqa-med-2019:test"})


def kvasir_vqa() -> Suite:
    """Kvasir-VQA: test of medgym's own split by image; none is published.

    Papers split the rows, so that they test on images that they trained on.
    """
    return of_pictures("kvasir-vqa", {"test": "kvasir-vqa:test"})


def mmmu_med() -> Suite:
    """MMMU, five medical subjects: validation, 150 questions.

    The answers of the test split are not published, and dev is meant for examples in the prompt.
    """
    return of_pictures("mmmu-med", {"validation": "mmmu-med:validation"})


def medxpertqa_mm() -> Suite:
    """MedXpertQA MM: test, 2,000 questions; dev is meant for examples in the prompt."""
    return of_pictures("medxpertqa-mm", {"test": "medxpertqa-mm:test"})


def omnimedvqa() -> Suite:
    """OmniMedVQA: all 88,996 questions of the open part; there are no splits.

    Papers make splits of their own. Nothing may be trained on it where this suite judges. `--limit`
    takes the first ones only.
    """
    return of_pictures("omnimedvqa", {"all": "omnimedvqa:all"})


def microvqa() -> Suite:
    """MicroVQA: all 1,042 questions; the only split, a test, is published as train."""
    return of_pictures("microvqa", {"train": "microvqa:train"})


def gmai_mmbench() -> Suite:
    """GMAI-MMBench: val, 4,549 questions; the answers of test are not published."""
    return of_pictures("gmai-mmbench", {"val": "gmai-mmbench:val"})


def chestagentbench() -> Suite:
    """ChestAgentBench: test, 2,500 questions on 675 cases; it has no other split."""
    return of_pictures("chestagentbench", {"test": "chestagentbench:test"})


def temmed_bench() -> Suite:
    """TemMed-Bench: the 2,000 selected questions, and the choice among three pairs.

    Results are published on the selected questions. Reports are left out: they need a file that
    the authors' notebook makes.
    """
    return of_pictures(
        "temmed-bench", {"vqa-2000": "temmed-bench:vqa-2000", "pairs": "temmed-bench:pairs"}
    )


def iu_xray() -> Suite:
    """IU X-ray: 590 reports of R2Gen's test split, the one that papers report on.

    An answer must equal the report: look at token F1 and at the reports themselves.
    """
    return of_pictures("iu-xray", {"test": "iu-xray:test"})


def medmnist() -> Suite:
    """MedMNIST v2: test of its 12 sets of pictures at 28 pixels, as published.

    Patients are not published, so that splits may share some; no split can be dealt again.
    """
    return of_pictures(
        "medmnist",
        {name: f"medmnist,set={name}:test" for name in SETS if not name.endswith("3d")},
    )
