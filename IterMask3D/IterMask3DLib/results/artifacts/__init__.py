"""One file a kind of artifact: its CSV and its figure, found by the artifact's type."""

from __future__ import annotations

from typing import Any, Protocol

from IterMask3DLib.core.artifacts import Artifact, MaskHistory, SensitivityTable, ThresholdCurve
from IterMask3DLib.results.artifacts import curve, sensitivity, shrink
from IterMask3DLib.results.artifacts.chart import Table


class ArtifactFiles(Protocol):
    """A module that knows how an artifact is written and drawn."""

    TITLE: str

    def table(self, artifact: Any) -> Table | None:
        """Columns and rows of its CSV; None where it has none."""
        ...

    def figure(self, artifact: Any) -> str:
        """SVG text."""
        ...

    def caption(self, artifact: Any) -> str:
        """What a reader is told below the figure."""
        ...

    def facts(self, artifact: Any) -> dict[str, Any]:
        """What the record of the run says of it."""
        ...


_FILES: dict[type[Any], Any] = {ThresholdCurve: curve, MaskHistory: shrink, SensitivityTable: sensitivity}


def files_of(artifact: Artifact) -> ArtifactFiles | None:
    """What writes an artifact; None for a kind that is not known here, which stands in the record of the run alone."""
    found: ArtifactFiles | None = _FILES.get(type(artifact))
    return found
