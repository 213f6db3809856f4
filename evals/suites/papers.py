"""Suites of the sets on which a paper reports.

Which cases, prompts, tools and scorers these papers took is not published. What is theirs here is
the choice of sets; the protocol is ours.
"""

from medgym.suite import Suite

from .protocols import of_pictures

VQA_RAD = {"vqa-rad": "vqa-rad:test"}
SLAKE = {"slake": "slake:test"}
PATH_VQA = {"path-vqa": "path-vqa:test"}
PMC_VQA = {"pmc-vqa": "pmc-vqa,version=clean:test"}
OMNIMEDVQA = {"omnimedvqa": "omnimedvqa:all"}
MMMU_MED = {"mmmu-med": "mmmu-med:validation"}


def medvistagym_6() -> Suite:
    """Five of the six sets of MedVistaGym; no readable copy of the paper names the sixth.

    VQA-RAD, SLAKE in English, PathVQA, PMC-VQA and the medical subjects of MMMU. The paper speaks
    of six benchmarks, and scores of five can be read. The sixth is left out here, not guessed. So a
    mean over this suite is no figure of the paper's.
    """
    benchmarks = VQA_RAD | SLAKE | PATH_VQA | PMC_VQA | MMMU_MED
    return of_pictures(
        "medvistagym-6", benchmarks, {name: name for name in benchmarks}, "arXiv 2601.07107"
    )


def mmedagent_5() -> Suite:
    """The five sets of MMedAgent-RL: it trained on three and left OmniMedVQA and MMMU out.

    VQA-RAD, SLAKE in English, PathVQA, OmniMedVQA's open part and the medical subjects of MMMU.
    How many cases of OmniMedVQA the paper took is not published.
    """
    benchmarks = VQA_RAD | SLAKE | PATH_VQA | OMNIMEDVQA | MMMU_MED
    return of_pictures(
        "mmedagent-5", benchmarks, {name: name for name in benchmarks}, "arXiv 2506.00555"
    )
