"""Draws a picture of a report as a PNG file, for a page that shows no data addresses.

python tools/report_picture.py REPORT.html OUT.png [--number 1] [--width 1140]
"""

from __future__ import annotations

import argparse
import base64
import os
import re
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtGui import QGuiApplication, QImage, QPainter
from PySide6.QtSvg import QSvgRenderer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", type=int, default=1, help="which of its pictures (default: the first)")
    parser.add_argument("--width", type=int, default=1140, help="pixels (default: 1140)")
    options = parser.parse_args()
    _application = QGuiApplication([])  # Letters need it.
    pictures = re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", options.report.read_text(encoding="utf-8"))
    renderer = QSvgRenderer(base64.b64decode(pictures[options.number - 1]))
    size = renderer.defaultSize()
    image = QImage(options.width, round(options.width * size.height() / size.width()), QImage.Format.Format_RGB32)
    painter = QPainter(image)
    renderer.render(painter)
    painter.end()
    if not image.save(str(options.out)):
        raise SystemExit(f"{options.out} cannot be written.")


if __name__ == "__main__":
    main()
