"""What opening and showing a study costs."""

from .measured import studies as studies
