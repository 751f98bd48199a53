"""A form made of what is known of settings: one row each, with the kind of control that its kind asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from IterMask3DLib.core.settings import About

_LARGEST = 1e9
_DECIMALS = 6
_STEPS = 100


class SettingsForm:
    """Shows settings and tells which of them the user has changed.

    Args:
        frame: an empty widget without a layout.
        on_changed: hears all values that were changed, by name.
        prominent: whether it is for the settings that every user is to understand: with sliders and with their help.
    """

    def __init__(self, frame: Any, on_changed: Callable[[dict[str, Any]], None], prominent: bool = False) -> None:
        self._frame, self._on_changed, self._prominent = frame, on_changed, prominent
        self._layout = qt.QFormLayout(frame)
        if prominent:
            # Beside the controls that are always there.
            self._layout.setContentsMargins(0, 0, 0, 0)
        self._known: Mapping[str, tuple[About, Any]] = {}
        self._controls: dict[str, Any] = {}
        self._changed: dict[str, Any] = {}
        self._filling = False

    def show(self, settings: Mapping[str, tuple[About, Any]], changed: Mapping[str, Any]) -> None:
        """Shows settings (what is known of each, and its usual value), and those that were changed."""
        if dict(settings) != dict(self._known):
            self._known = dict(settings)
            self._build()
        self._changed = {name: value for name, value in changed.items() if name in self._known}
        self._filling = True
        for name, (one, usual) in self._known.items():
            self._set(self._controls[name], one, self._changed.get(name, usual))
        self._filling = False

    def control(self, name: str) -> Any:
        """The control of a setting, None where there is none of that name."""
        return self._controls.get(name)

    def set_enabled(self, enabled: bool) -> None:
        self._frame.enabled = enabled

    def reset(self) -> None:
        """Every setting as usual again."""
        self.show(self._known, {})
        self._on_changed({})

    def _build(self) -> None:
        while self._layout.rowCount():
            self._layout.removeRow(0)
        self._controls = {}
        for name, (one, _usual) in self._known.items():
            control = self._made(name, one)
            control.toolTip = f"{one.help} ({one.unit})" if one.unit and one.help else one.help or one.unit
            self._layout.addRow(f"{one.label}:", control)
            self._controls[name] = control
            if self._prominent and one.help:
                text = qt.QLabel(one.help)
                text.wordWrap = True
                self._layout.addRow("", text)

    def _made(self, name: str, one: About) -> Any:
        if self._prominent and one.kind in ("whole", "number") and not one.optional and _bounded(one):
            return self._slider(name, one)
        if one.kind == "truth":
            control = qt.QCheckBox()
            control.connect("toggled(bool)", lambda value: self._heard(name, value))
        elif one.kind == "choice":
            control = qt.QComboBox()
            for choice in one.choices:
                control.addItem(choice.capitalize())
            control.connect("currentIndexChanged(int)", lambda index: self._heard(name, one.choices[index]))
        elif one.kind == "whole":
            control = qt.QSpinBox()
            control.setRange(int(max(one.least, -2e9)), int(min(one.most, 2e9)))
            control.connect("valueChanged(int)", lambda value: self._heard(name, value))
        elif one.kind == "number":
            control = qt.QDoubleSpinBox()
            control.setDecimals(_DECIMALS)
            # One step below the least stands for none.
            control.setRange(max(one.least, -_LARGEST) - (1 if one.optional else 0), min(one.most, _LARGEST))
            if one.optional:
                control.setSpecialValueText(_("none"))
            control.connect("valueChanged(double)", lambda value: self._heard(name, self._number(control, one, value)))
        else:
            control = qt.QLineEdit()
            control.connect("textEdited(QString)", lambda text: self._heard(name, _typed(one, text)))
        return control

    def _slider(self, name: str, one: About) -> Any:
        whole = one.kind == "whole"
        control = ctk.ctkSliderWidget()
        # Heard when it is let go of: what follows may take a while.
        control.tracking = False
        control.decimals = 0 if whole else 3
        control.minimum, control.maximum = one.least, one.most
        control.singleStep = 1 if whole else (one.most - one.least) / _STEPS
        control.connect("valueChanged(double)", lambda value: self._heard(name, round(value) if whole else value))
        return control

    def _number(self, control: Any, one: About, value: float) -> float | None:
        if not one.optional or value > control.minimum:
            return max(value, one.least)
        return None

    def _set(self, control: Any, one: About, value: Any) -> None:
        if one.kind == "truth":
            control.checked = bool(value)
        elif one.kind == "choice":
            control.currentIndex = one.choices.index(value) if value in one.choices else -1
        elif one.kind in ("whole", "number"):
            control.value = control.minimum if value is None else value
        elif isinstance(value, (list, tuple)):
            control.text = " ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in value)
        else:
            control.text = "" if value is None else str(value)

    def _heard(self, name: str, value: Any) -> None:
        if not self._filling:
            self._changed[name] = value
            self._on_changed(dict(self._changed))


def _bounded(one: About) -> bool:
    return one.least > -_LARGEST and one.most < _LARGEST


def _typed(one: About, text: str) -> Any:
    """What a line of text stands for; the text itself where it does not fit, which the engine then says."""
    words = text.replace(",", " ").split()
    if one.kind not in ("numbers", "wholes"):
        return text
    if not words and one.optional:
        return None
    try:
        return [int(word) if one.kind == "wholes" else float(word) for word in words]
    except ValueError:
        return text
