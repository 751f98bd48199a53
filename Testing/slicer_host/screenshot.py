"""Takes the pictures of the README: the panel after a run on the bundled brain beside real views, and the panel alone.

    python -m Testing.slicer_host.screenshot Resources/Screenshots/panel.png
    python -m Testing.slicer_host.screenshot --states Resources/Screenshots

The panel stands on the stand-ins of this package; the views are rendered by Slicer's own displayable managers. The
panel is longer than the views are high: its second half stands beside the first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from PySide6 import QtCore, QtGui, QtWidgets

from Testing.slicer_host.application import LoadedModule, start_application
from Testing.slicer_host.views import SLICE_VIEWS, Views

ROOT = Path(__file__).resolve().parents[2]
PANEL_WIDTH, USUAL_WIDTH = 470, 420
SECOND_HALF = "heatmapCollapsibleButton"
BAR = 20
GAP = 3
ZOOM = 1.35
PLACES = {"Red": (0, 0), "3D": (0, 1), "Green": (1, 0), "Yellow": (1, 1)}
COLORS = {"Red": "#f34a33", "Green": "#6eb04b", "Yellow": "#edd54c", "3D": "#8486a8"}
"""Of the bars above the views, as in Slicer."""

LAVENDER = ((0.7568, 0.7647, 0.9098), (0.4549, 0.4706, 0.7451))
BACKGROUND = "#efefef"


def opened(module: LoadedModule) -> Any:
    """The panel, once the engine has told its models."""
    widget = module.enter()
    until(lambda: widget.logic.description is not None)
    return widget


def until(reached: Callable[[], Any]) -> None:
    """Lets the application run until something is so."""
    while not reached():
        slicer.app.processEvents()
        time.sleep(0.01)


def panel_picture(module: LoadedModule, path: Path) -> None:
    """The panel at its usual width and full length."""
    panel = module.widgetRepresentation()
    panel.setFixedWidth(USUAL_WIDTH)
    panel.show()
    slicer.app.processEvents()
    panel.resize(USUAL_WIDTH, panel.layout().totalHeightForWidth(USUAL_WIDTH))
    slicer.app.processEvents()
    panel.grab().toImage().convertToFormat(QtGui.QImage.Format.Format_RGB888).save(str(path))


def states(module: LoadedModule, folder: Path) -> None:
    """Pictures of the panel as it opens, in mid-run, with a result, and after a run that found nothing."""
    widget = opened(module)
    panel_picture(module, folder / "panel_closed.png")
    brain = widget.resourcePath("SampleData/open_ms_patient19_T1.nii.gz")
    slicer.util.loadVolume(brain, {"name": "MultipleSclerosis_T1"})
    widget.ui.applyButton.click()
    session = widget.panel.session
    until(lambda: session.nodes is not None and len(session.nodes.steps) > 3)
    panel_picture(module, folder / "panel_running.png")
    until(lambda: not widget.logic.busy)
    panel_picture(module, folder / "panel_result.png")
    widget.panel.advanced.method.control("smallest_voxels").value = 1_000_000
    widget.ui.applyButton.click()
    until(lambda: not widget.logic.busy)
    panel_picture(module, folder / "panel_nothing_found.png")


def segmented_sample(module: LoadedModule) -> Any:
    """Does with the panel what the tutorial says: segments the sample, shows it and selects the largest lesion."""
    widget = opened(module)
    brain = widget.resourcePath("SampleData/open_ms_patient19_T1.nii.gz")
    slicer.util.loadVolume(brain, {"name": "MultipleSclerosis_T1"})
    slicer.util.setSliceViewerLayers(background=widget.panel.session.parameters.inputVolume, fit=True)
    widget.ui.applyButton.click()
    widget.logic.wait()
    for name in ("show3DButton", "showLegendCheckBox", "showMaskCheckBox"):
        getattr(widget.ui, name).click()
    widget.ui.heatmapRangeWidget.setValues(0.0, widget.ui.heatmapRangeWidget.maximum / 2)
    widget.ui.lesionsTable.selectRow(0)
    return widget


def panel_columns(module: LoadedModule, widget: Any) -> list[QtGui.QPixmap]:
    """The panel at full length, cut in two above one of its sections."""
    panel = module.widgetRepresentation()
    panel.setFixedWidth(PANEL_WIDTH)
    panel.show()
    slicer.app.processEvents()
    panel.resize(PANEL_WIDTH, panel.layout().totalSizeHint().height())
    slicer.app.processEvents()
    whole = panel.grab()
    cut = getattr(widget.ui, SECOND_HALF).mapTo(panel, QtCore.QPoint(0, 0)).y() - GAP
    return [whole.copy(0, 0, PANEL_WIDTH, cut), whole.copy(0, cut, PANEL_WIDTH, whole.height() - cut)]


def view_pictures(views: Views, side: int, place: Sequence[float]) -> dict[str, NDArray[np.uint8]]:
    """What the views show, uint8 [row, column, 3], cut through the place (RAS, mm)."""
    views.resize(side, side)
    views.slice_node("Red").SetSliceVisible(True)
    views.fit()
    for name in SLICE_VIEWS:
        node = views.slice_node(name)
        wide, high, deep = node.GetFieldOfView()
        node.SetFieldOfView(wide / ZOOM, high / ZOOM, deep)
        node.JumpSliceByOffsetting(*place)
    views.threed_node().SetBackgroundColor(*LAVENDER[0])
    views.threed_node().SetBackgroundColor2(*LAVENDER[1])
    camera = slicer.util.getNodesByClass("vtkMRMLCameraNode")[0].GetCamera()
    camera.Azimuth(25)
    camera.Elevation(30)
    camera.Dolly(1.9)
    legend = slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")[0]
    legend.SetViewNodeIDs([views.slice_node("Red").GetID()])
    return {**{name: views.slice_picture(name) for name in SLICE_VIEWS}, "3D": views.threed_picture()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, help="file, or the folder of the pictures with --states")
    parser.add_argument("--states", action="store_true", help="the panel alone, in each of its states")
    options = parser.parse_args(arguments)
    wanted = options.picture
    start_application()
    QtWidgets.QApplication.setStyle("Fusion")
    module = LoadedModule(ROOT / "IterMask3D" / "IterMask3D.py")
    if options.states:
        states(module, wanted)
        module.unload()
        return
    views = Views()
    widget = segmented_sample(module)
    columns = panel_columns(module, widget)
    height = max(column.height() for column in columns)
    side = (height - GAP) // 2 - BAR
    canvas = QtGui.QPixmap(PANEL_WIDTH * 2 + 2 * (side + GAP), height)
    canvas.fill(QtGui.QColor(BACKGROUND))
    painter = QtGui.QPainter(canvas)
    for index, column in enumerate(columns):
        painter.drawPixmap(index * PANEL_WIDTH, 0, column)
    largest = widget.logic.lesions(widget.panel.session.result)[0].centroid_ras
    for name, pixels in view_pictures(views, side, largest).items():
        row, column = PLACES[name]
        x, y = 2 * PANEL_WIDTH + GAP + column * (side + GAP), row * (side + BAR + GAP)
        painter.fillRect(x, y, side, BAR, QtGui.QColor(COLORS[name]))
        painter.drawText(QtCore.QRect(x + 8, y, side, BAR), QtCore.Qt.AlignmentFlag.AlignVCenter, name)
        painter.drawImage(
            x, y + BAR, QtGui.QImage(pixels.data, side, side, 3 * side, QtGui.QImage.Format.Format_RGB888)
        )
    painter.end()
    canvas.save(str(wanted))
    module.unload()


if __name__ == "__main__":
    main()
