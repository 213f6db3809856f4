"""`oracle`: the gold outline of the finding that the prompt means; see `medgym.gold_tool`."""

from collections.abc import Sequence

from ..backend import Backend, Found, FoundThrough, Request
from ..marked import indices, marked, mask_of, over_view


class Oracle(Backend):
    """See the module. Of a finding without a mask it gives the box."""

    takes = ("box", "points", "scribble", "text")
    fidelity = "oracle"
    needs_gold = True

    def segment(self, requests: Sequence[Request]) -> Sequence[Found | None]:
        """See `Backend.segment`."""
        return [_found(request) for request in requests]

    def through(self, requests: Sequence[Request]) -> Sequence[FoundThrough | None]:
        """See `Backend.through`."""
        return [_through(request) for request in requests]


BACKEND = Oracle


def _found(request: Request) -> Found | None:
    region = marked(request)
    return None if region is None else over_view(*mask_of(region), request, 1.0)


def _through(request: Request) -> FoundThrough | None:
    region, found = marked(request), _found(request)
    if region is None or found is None:
        return None
    return FoundThrough(dict.fromkeys(indices(region, request), found))
