"""The parts of SVG that a report is drawn with: few enough that browsers and other viewers draw them alike."""

from __future__ import annotations

import base64
import html
import struct
import zlib
from typing import Any

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray


def document(width: float, height: float, body: str, ink: str, ground: str = "none") -> str:
    """A picture of `width` x `height` units; SVG text.

    Args:
        body: its elements; ink, ground: the colours of its letters and of what is behind all.
    """
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    style = 'font-family="system-ui, sans-serif" text-anchor="middle"'
    behind = f'<rect width="{width:g}" height="{height:g}" fill="{ground}"/>'
    return f'<svg {names} viewBox="0 0 {width:g} {height:g}" {style} fill="{ink}">{behind}{body}</svg>\n'


def address(kind: str, data: bytes) -> str:
    """A data address of a media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def text(words: str, x: float, y: float, size: float, more: str = "") -> str:
    """Words whose middle is at (x, y), of capitals about 0.7 `size` high. `more`: other attributes."""
    # A baseline set by hand: not every viewer knows that of the middle.
    at = f'x="{x:g}" y="{y + 0.35 * size:g}" font-size="{size:g}"'
    return f"<text {at} {more}>{html.escape(words)}</text>"


def image(pixels: NDArray[np.uint8], width: float, height: float) -> str:
    """Pixels, see `png`, stretched over `width` x `height` units from the origin."""
    size = f'width="{width:g}" height="{height:g}" preserveAspectRatio="none"'
    return f'<image {size} xlink:href="{address("image/png", png(pixels))}"/>'


def outline(mask: NDArray[np.bool_], width: float, height: float, style: str) -> str:
    """The border of a mask [row, column] stretched over `width` x `height` units; nothing of an empty one.

    It runs between pixels of different kind, and along the edge of the picture where the mask reaches it.
    """
    x, y = ((np.arange(n + 2) - 0.5) * size / n for n, size in zip(mask.shape[::-1], (width, height), strict=True))
    lines: Any = contour_generator(x, y, np.pad(mask, 1)).lines(0.5)
    path = "".join(f"M{' '.join(f'{x:g},{y:g}' for x, y in line[:-1])}Z" for line in lines)
    return f'<path d="{path}" fill="none" {style}/>' if path else ""


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of pixels [row, column] of grey, or [row, column, 4] of red, green, blue and opacity."""
    height, width = pixels.shape[:2]
    colour = 0 if pixels.ndim == 2 else 6
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (1, 0)))  # The leading zero: as they are, without a filter.
    parts = {
        b"IHDR": struct.pack(">2I5B", width, height, 8, colour, 0, 0, 0),
        b"IDAT": zlib.compress(rows.tobytes()),
        b"IEND": b"",
    }
    chunks = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts.items())
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
