"""The same case, run in this process without a scene: what the scene is held against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer.util

from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import ANOMALY, HEATMAP, RECONSTRUCTION, CaseResult
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.run import CaseRun, finish
from Testing.scene.samples import affine_of, anomaly_of, voxels


def run_of(node: Any, request: Request) -> CaseRun:
    """The case of a volume node, prepared."""
    case = Case.of(Image(voxels(node), affine_of(node), node.GetName()))
    return CaseRun.of(case, load_model(Path(str(request.model))), request)


def found(node: Any, request: Request) -> CaseResult:
    """The result of a volume node's case."""
    return finish(run_of(node, request).infer())


def same_as(nodes: Any, result: CaseResult) -> None:
    """The scene holds what was found without it."""
    np.testing.assert_array_equal(anomaly_of(nodes), result.array(ANOMALY))
    np.testing.assert_array_equal(voxels(nodes.heatmap), result.array(HEATMAP))
    np.testing.assert_allclose(voxels(nodes.reconstruction), result.array(RECONSTRUCTION), atol=0.5)
    np.testing.assert_array_equal(voxels(nodes.brain) > 0, result.brain)
    records = {artifact.kind: artifact.to_record() for artifact in result.artifacts}
    for artifact in nodes.artifacts:
        for name, value in records[artifact["kind"]].items():
            kept = artifact["record"][name]
            assert np.array_equal(np.array(kept, dtype=object), np.array(value, dtype=object)), name
    assert nodes.outcome["case_score"] == result.case_score and nodes.outcome["scalars"] == result.scalars
    # A scene that was opened again has its affine with fewer digits.
    assert nodes.outcome["brain_ml"] == pytest.approx(nodes.brain_ml) == pytest.approx(result.brain_ml)


def segment_on(segmentation: Any, segment_id: str, volume: Any) -> Any:
    """A segment on the grid of a volume [k, j, i], which may be written."""
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, volume)
