"""The three shipped roles: triage, specialist, attending."""

from medgym.consultation.role import ATTENDING, SPECIALIST, TRIAGE, Role


def triage() -> Role:
    """Chooses the specialty that should see the case: from the overview, in one reply."""
    return Role(
        TRIAGE,
        prompt="You are the triage doctor. You choose who sees a patient.",
        tools=(),
        rubric="triage",
        max_turns=1,
        trainable=True,
        asks="specialty",
    )


def specialist() -> Role:
    """Gives an opinion on a case from the knowledge of one specialty."""
    return Role(
        SPECIALIST,
        prompt="You are the {specialty} whom a colleague asks for an opinion.",
        each="specialty",
        hears=(TRIAGE,),
    )


def attending() -> Role:
    """Reads the opinions, may look for itself, and decides."""
    return Role(
        ATTENDING,
        prompt=(
            "You are the attending physician. You see the opinions of specialists, who may be "
            "wrong. You decide."
        ),
        trainable=True,
        hears=(SPECIALIST,),
    )
