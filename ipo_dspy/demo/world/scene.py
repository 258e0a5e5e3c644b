"""What one picture shows, before any medium has touched it: objects, places and colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ipo_dspy.demo.world.objects import OBJECTS
from ipo_dspy.demo.world.shapes import Part, Points, area, ellipse, line, moved, polygon, turned

SIZE = 96
"""Width and height of a picture in pixels."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (240, 240, 238),
    "cream": (236, 222, 184),
    "grey": (140, 143, 148),
    "black": (38, 36, 40),
    "red": (205, 40, 42),
    "orange": (236, 132, 30),
    "yellow": (244, 206, 46),
    "green": (62, 148, 62),
    "cyan": (140, 206, 224),
    "blue": (44, 92, 190),
    "purple": (126, 66, 168),
    "pink": (238, 140, 176),
    "brown": (128, 80, 44),
}
"""From colour name to RGB, 0 to 255."""


@dataclass(frozen=True)
class Scene:
    """One object and its clutter, placed; coordinates are fractions of the picture, 0 to 1."""

    class_name: str
    parts: tuple[Part, ...]
    clutter: tuple[Part, ...]
    backdrop: str
    x: float
    y: float
    scale: float
    tilt: float

    @property
    def colour(self) -> str:
        """Name of the colour that covers most of the object."""
        extent: dict[str, float] = {}
        for part in self.parts:
            span = np.ptp(part.points, axis=0)
            weight = float(span[0] * span[1]) if part.closed else 0.0
            extent[part.colour] = max(extent.get(part.colour, 0.0), weight)
        return max(extent, key=lambda colour: extent[colour])


def compose(class_name: str, backdrops: Sequence[str], chance: np.random.Generator) -> Scene:
    """Place one object of a class, and some clutter, on one of the backdrops.

    Scale is half the object's width as a fraction of the picture; tilt is in degrees, clockwise.
    """
    parts = OBJECTS[class_name](chance)
    scale = chance.uniform(0.24, 0.45)
    tilt = float(np.clip(chance.normal(0, 14), -40, 40))
    x, y = chance.uniform(0.5 - 0.62 * (0.55 - scale), 0.5 + 0.62 * (0.55 - scale), 2)
    stretch = chance.uniform(0.85, 1.15)
    flip = -1.0 if chance.random() < 0.5 else 1.0

    def place(points: Points) -> Points:
        shaped = points * [flip * stretch, 1 / stretch]
        return moved(turned(shaped, -tilt) * scale, x, y)

    return Scene(
        class_name=class_name,
        parts=tuple(Part(part.colour, place(part.points), part.closed) for part in parts),
        clutter=tuple(_scrap(chance) for _ in range(int(chance.integers(0, 6)))),
        backdrop=backdrops[int(chance.integers(len(backdrops)))],
        x=float(x),
        y=float(y),
        scale=float(scale),
        tilt=tilt,
    )


def _scrap(chance: np.random.Generator) -> Part:
    """Make one small meaningless shape, somewhere."""
    colour = list(COLOURS)[int(chance.integers(len(COLOURS)))]
    size = chance.uniform(0.03, 0.11)
    at = chance.random(2)
    kind = int(chance.integers(4))
    if kind == 0:
        return area(colour, moved(ellipse(0, 0, size), *at))
    if kind == 1:
        corners = turned(polygon(-size, -size, size, -size, size, size, -size, size), 90 * at[0])
        return area(colour, moved(corners, *at))
    if kind == 2:
        return area(
            colour, moved(turned(polygon(0, -size, size, size, -size, size), 360 * at[1]), *at)
        )
    bends = chance.uniform(-2 * size, 2 * size, 4)
    return Part(
        colour,
        moved(line(colour, 0.0, 0.0, *bends).points, *at),
        closed=False,
    )
