"""How a layer looks, which follows from its kind."""

from __future__ import annotations

from typing import Any

import slicer

from IterMask3DLib.core.result import LayerKind
from IterMask3DLib.scene.nodes import names
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.view.colors import heat_colors, mask_colors

LARGE_ERROR = 9.0
"""Upper end of the window of a score before its largest value is known: three standard deviations, squared."""

_DARKEST, _BRIGHTEST = 1e-6, 1e9


def show_by_kind(node: Any, kind: LayerKind, source: Any) -> None:
    """Gives a volume node its display, where it has none of the module's yet; what the user changes of it stays.

    Args:
        source: the volume whose grey window an intensity takes over.
    """
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display, role = node.GetDisplayNode(), str(node.GetAttribute(names.ROLE))
    if display.GetAttribute(names.ROLE) == role:
        return
    # A sequence browser may have made a display of its own; this one is the user's from now on.
    display.SetAttribute(names.ROLE, role)
    was = display.StartModify()
    if kind is LayerKind.MASK:
        display.SetAndObserveColorNodeID(mask_colors().GetID())
    elif kind is LayerKind.SCORE:
        display.SetAndObserveColorNodeID(heat_colors().GetID())
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0.0, LARGE_ERROR)
        display.SetInterpolate(True)
        show_from(node, None)
    elif source.GetDisplayNode() is not None:
        given = source.GetDisplayNode()
        display.AutoWindowLevelOff()
        display.SetWindowLevel(given.GetWindow(), given.GetLevel())
        display.SetAndObserveColorNodeID(given.GetColorNodeID())
    display.EndModify(was)


def show_steps(nodes: ResultNodes) -> None:
    """Gives what the browser shows its displays."""
    for name, kind in nodes.step_layers.items():
        proxy = nodes.proxy(name)
        if proxy is not None:
            show_by_kind(proxy, kind, nodes.input)


def show_from(node: Any, low: float | None) -> None:
    """Makes scores below `low` transparent; None: only zeros, so that the volume below stays as it is there."""
    display = node.GetDisplayNode()
    was = display.StartModify()
    display.AutoThresholdOff()
    display.SetThreshold(_DARKEST if low is None else max(low, _DARKEST), _BRIGHTEST)
    display.SetApplyThreshold(True)
    display.EndModify(was)


def legend_of(node: Any, unit: str) -> Any:
    """The colour legend of a score, made if it is not there."""
    logic = slicer.modules.colors.logic()
    legend = logic.GetColorLegendDisplayNode(node)
    if legend is None:
        legend = logic.AddDefaultColorLegendDisplayNode(node)
        # Small and at the edge: it must not cover the brain.
        legend.GetTitleTextProperty().SetFontSize(13)
        legend.GetLabelTextProperty().SetFontSize(12)
        legend.SetLabelFormat("%.1f")
        legend.SetSize(0.1, 0.4)
        legend.SetPosition(0.98, 0.5)
    legend.SetTitleText(unit or "Error")
    return legend
