"""Suites about volumes: those of single data sets, and `volumes`, which joins them."""

from medgym.sources.studies.medmnist_sets import SETS
from medgym.suite import Suite

from .protocols import of_volumes

PHANTOMS = "phantom,look=ct-volume,question=kind,depth=8:test[:200]"


def deeptumorvqa() -> Suite:
    """DeepTumorVQA 2.0: benchmark, 10,000 questions on CT, and benchmark-clean.

    Up to 68 CTs may be in the training split too. The pool of validation questions is what the
    benchmark was drawn from, so that neither it nor a policy tuned on it can be judged here.
    """
    return of_volumes(
        "deeptumorvqa",
        {
            "benchmark": "deeptumorvqa:benchmark",
            "benchmark-clean": "deeptumorvqa:benchmark-clean",
        },
    )


def reason_knee() -> Suite:
    """3DReasonKnee: test, grades in MRI volumes of knees, the published one by patient."""
    return of_volumes("3dreasonknee", {"test": "3dreasonknee:test"})


def vipet_reportgen() -> Suite:
    """ViPET-ReportGen: test, Vietnamese reports on PET/CT, and test-clean.

    The split is by months, as its paper says. Some reports repeat word for word in two splits. An
    answer must equal the report: look at token F1 and at the reports themselves.
    """
    return of_volumes(
        "vipet-reportgen",
        {"test": "vipet-reportgen:test", "test-clean": "vipet-reportgen:test-clean"},
    )


def volumes() -> Suite:
    """Volumes: phantoms, DeepTumorVQA, 3DReasonKnee, and the six of MedMNIST; no reports.

    Phantoms need no data: `--only phantom`.
    """
    return of_volumes(
        "volumes",
        {
            "phantom": PHANTOMS,
            "deeptumorvqa": "deeptumorvqa:benchmark",
            "3dreasonknee": "3dreasonknee:test",
            **{name: f"medmnist,set={name}:test" for name in SETS if name.endswith("3d")},
        },
        sets={"deeptumorvqa": "deeptumorvqa"},
        source="the data sets' own evaluation splits",
    )
