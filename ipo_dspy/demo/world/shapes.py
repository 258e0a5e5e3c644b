"""Parts of a drawn object, and the outlines they are made of.

Coordinates: x to the right, y down; an object fills about [-1, 1] x [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Corners of an outline, [N, 2]."""


@dataclass(frozen=True)
class Part:
    """One outline of an object, with the name of its colour.

    A closed part is an area that a medium may fill; an open one is a line.
    """

    colour: str
    points: Points
    closed: bool = True


def area(colour: str, points: Points) -> Part:
    """Make a part that can be filled."""
    return Part(colour, points)


def line(colour: str, *coordinates: float) -> Part:
    """Make an open line through x, y, x, y, ..."""
    return Part(colour, polygon(*coordinates), closed=False)


def polygon(*coordinates: float) -> Points:
    """Take corners as x, y, x, y, ..."""
    return np.array(coordinates, dtype=np.float64).reshape(-1, 2)


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """Outline an upright rectangle."""
    return polygon(left, top, right, top, right, bottom, left, bottom)


def ellipse(
    x: float,
    y: float,
    across: float,
    down: float | None = None,
    start: float = 0.0,
    stop: float = 360.0,
) -> Points:
    """Outline an ellipse, or the arc of it between two angles in degrees, clockwise from right."""
    steps = 28 if stop - start >= 360 else 16
    angles = np.radians(np.linspace(start, stop, steps, endpoint=stop - start < 360))
    return np.stack([x + across * np.cos(angles), y + (down or across) * np.sin(angles)], axis=1)


def band(
    x: float, y: float, outer: float, inner: float, start: float = 0.0, stop: float = 360.0
) -> Points:
    """Outline the part of a ring between two angles in degrees."""
    outside = ellipse(x, y, outer, start=start, stop=stop)
    inside = ellipse(x, y, inner, start=start, stop=stop)
    return np.concatenate([outside, inside[::-1]])


def smooth(*coordinates: float, closed: bool = True, steps: int = 5) -> Points:
    """Round off the corners x, y, x, y, ... with a Catmull-Rom curve through all of them."""
    corners = polygon(*coordinates)
    if closed:
        padded = np.concatenate([corners[-1:], corners, corners[:2]])
    else:
        padded = np.concatenate([corners[:1], corners, corners[-1:]])
    before, here, after, beyond = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    before, here, after, beyond = (p[:, None, :] for p in (before, here, after, beyond))
    curve = 0.5 * (
        2 * here
        + (after - before) * t
        + (2 * before - 5 * here + 4 * after - beyond) * t**2
        + (3 * here - before - 3 * after + beyond) * t**3
    )
    points: Points = curve.reshape(-1, 2)
    return points if closed else np.concatenate([points, corners[-1:]])


def mirrored(points: Points) -> Points:
    """Close the right half of an outline, given top to bottom, with its mirror image."""
    return np.concatenate([points, (points * [-1, 1])[::-1]])


def moved(points: Points, x: float, y: float) -> Points:
    """Shift an outline."""
    return points + np.array([x, y])


def turned(points: Points, degrees: float) -> Points:
    """Rotate an outline clockwise about the origin."""
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return points @ rotation
