"""Real slice and 3D views without a window: Slicer's displayable managers, rendered by trame_slicer on EGL."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

NEEDS_VIEWS = "needs the wheel trame-slicer, which renders without a window"

SLICE_VIEWS = ("Red", "Green", "Yellow")
THREE_D = "View1"


def has_views() -> bool:
    """Whether the wheel that renders is installed."""
    return importlib.util.find_spec("trame_slicer") is not None


class Views:
    """Three slice views and a 3D view on the scene of the host."""

    def __init__(self, width: int = 400, height: int = 400) -> None:
        from trame_slicer.core.view_manager import ViewManager
        from trame_slicer.views import DirectViewFactory, ViewLayoutDefinition

        self._manager = ViewManager(slicer.mrmlScene, slicer.app.applicationLogic())
        self._manager.register_factory(DirectViewFactory(do_render_offscreen=True))
        made = (
            ViewLayoutDefinition.axial_view(),
            ViewLayoutDefinition.coronal_view(),
            ViewLayoutDefinition.sagittal_view(),
        )
        self._slices = {name: self._manager.create_view(view) for name, view in zip(SLICE_VIEWS, made, strict=True)}
        self._threed = self._manager.create_view(ViewLayoutDefinition.threed_view())
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """Gives every view the same size, in pixels."""
        for view in (*self._slices.values(), self._threed):
            view.update_size(width, height)

    def fit(self) -> None:
        """Fits every slice view to what it shows, and the 3D view to its content."""
        for view in self._slices.values():
            view.fit_view_to_content()
        self._threed.reset_view()

    def slice_node(self, name: str) -> Any:
        return self._slices[name].get_view_node()

    def threed_node(self) -> Any:
        return self._threed.get_view_node()

    def slice_picture(self, name: str) -> NDArray[np.uint8]:
        """The picture of a slice view: uint8 [row, column, 3]."""
        return _picture(self._slices[name])

    def threed_picture(self) -> NDArray[np.uint8]:
        """The picture of the 3D view: uint8 [row, column, 3]. No volume rendering: a minute a frame without a GPU."""
        return _picture(self._threed)


def _picture(view: Any) -> NDArray[np.uint8]:
    view.render()
    grabbed = vtk.vtkWindowToImageFilter()
    grabbed.SetInput(view.render_window())
    grabbed.ReadFrontBufferOff()
    grabbed.Update()
    image = grabbed.GetOutput()
    width, height, _ = image.GetDimensions()
    return np.ascontiguousarray(vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, 3)[::-1])
