"""Whether a policy looked where there was something to see."""

from medgym.cases import Case
from medgym.trajectory import Trajectory


def hit(case: Case, trajectory: Trajectory, slack_px: float = 0.5) -> bool | None:
    """Whether one look showed a whole gold region, None for a case without regions.

    A view counts where its box holds the region's box to within `slack_px` original pixels, and
    where it shows more than the view did that the episode started with: that one shows everything,
    too small, and so does a crop or an overlay of the whole of it.
    """
    if not case.regions:
        return None
    return any(
        look.gain > 1
        and look.image == region.image
        and look.box_px[0] <= region.box_px[0] + slack_px
        and look.box_px[1] <= region.box_px[1] + slack_px
        and look.box_px[2] >= region.box_px[2] - slack_px
        and look.box_px[3] >= region.box_px[3] - slack_px
        for look in trajectory.looks
        for region in case.regions
    )
