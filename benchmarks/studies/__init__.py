"""`bench studies`: large studies beside the libraries that read them."""

from .measure import studies as studies
