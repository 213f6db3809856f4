"""`oracle`: the gold outline of the finding that the prompt means; see `medgym.gold_tool`."""

from collections.abc import Sequence

from ..backend import Segmentation, SegmentationThrough, Segmenter, SegmentRequest
from ..marked import indices, marked, mask_of, over_view


class OracleSegmenter(Segmenter):
    """See the module. Of a finding without a mask it gives the box."""

    takes = ("box", "points", "scribble", "text")
    fidelity = "oracle"
    needs_gold = True

    def segment(self, requests: Sequence[SegmentRequest]) -> Sequence[Segmentation | None]:
        """See `Segmenter.segment`."""
        return [_found(request) for request in requests]

    def through(self, requests: Sequence[SegmentRequest]) -> Sequence[SegmentationThrough | None]:
        """See `Segmenter.through`."""
        return [_through(request) for request in requests]


BACKEND = OracleSegmenter


def _found(request: SegmentRequest) -> Segmentation | None:
    region = marked(request)
    return None if region is None else over_view(*mask_of(region), request, 1.0)


def _through(request: SegmentRequest) -> SegmentationThrough | None:
    region, found = marked(request), _found(request)
    if region is None or found is None:
        return None
    return SegmentationThrough(dict.fromkeys(indices(region, request), found))
