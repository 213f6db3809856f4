"""A phantom clip as a study: the plane `frame`, drawn when it is asked for."""

from collections.abc import Mapping

from medgym.imaging.imaging_study import FRAME, ImagingStudy, Plane, Region, part_of
from medgym.imaging.rendering import Study
from medgym.sources.phantom.studies.plan import StudyPlan
from medgym.sources.phantom.studies.settings import STUDY_LOOKS
from medgym.sources.phantom.studies.stack import image_values
from medgym.sources.phantom.studies.textures import view_sizes


class PhantomClip(ImagingStudy):
    """The clip of a plan. Its millimetres are those of the region that the device scans."""

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan.uri)
        self.plan = plan

    @property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`."""
        return {FRAME: Plane(self.plan.depth, (self.plan.size, self.plan.size))}

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`."""
        size, spacing = float(self.plan.size), self.plan.spacing_mm
        whole = Study(
            image_values(self.plan, index),
            modality=STUDY_LOOKS[self.plan.name.look].setting.modality,
            view_sizes=view_sizes(self.plan.size),
            calibrated=(((0.0, 0.0, size, size), (spacing, spacing)),),
        )
        return part_of(whole, region)
