"""The media of the demo world: one function each, from a scene to a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ipo_dspy.demo.world.scene import COLOURS, SIZE, Scene
from ipo_dspy.demo.world.shapes import Part, Points

Chance = np.random.Generator
Pixels = NDArray[np.float32]
"""[SIZE, SIZE, 3] or [SIZE, SIZE, 1], 0 to 255."""

_FINE = 2 * SIZE
"""Shapes are drawn at twice the size and then reduced, which smooths their edges."""


@dataclass(frozen=True)
class Medium:
    """A way to make pictures, with the colours its background may have."""

    render: Callable[[Scene, Chance], Image.Image]
    backdrops: tuple[str, ...]


# Pieces that several media share


def _shade(colour: str, chance: Chance, spread: float = 18.0) -> tuple[int, int, int]:
    """Vary a named colour a little."""
    values = np.clip(np.array(COLOURS[colour]) + chance.normal(0, spread, 3), 0, 255)
    return int(values[0]), int(values[1]), int(values[2])


def _pixels(image: Image.Image) -> Pixels:
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=np.float32)


def _picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _grain(chance: Chance, strength: float) -> Pixels:
    """Make fine grey noise, [SIZE, SIZE, 1], about zero."""
    return chance.normal(0, strength, (SIZE, SIZE, 1)).astype(np.float32)


def _clouds(chance: Chance, cells: int) -> Pixels:
    """Make soft large patches, [SIZE, SIZE, 1], 0 to 1."""
    coarse = Image.fromarray((chance.random((cells, cells)) * 255).astype(np.uint8))
    smooth = coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float32)[..., None] / np.float32(255)


def _blend(under: Pixels, over: Pixels | tuple[int, ...], cover: Pixels) -> Pixels:
    """Lay one layer over another where cover (0 to 1) says so."""
    blended: Pixels = under + (np.asarray(over, dtype=np.float32) - under) * cover
    return blended


def _corners(points: Points, size: int = _FINE) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points * size]


def _wobbly(points: Points, closed: bool, chance: Chance, wobble: float) -> Points:
    """Retrace an outline by an unsteady hand; wobble is a fraction of the picture."""
    path = np.concatenate([points, points[:1]]) if closed else points
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    steps = max(3, int(length[-1] * 24))
    at = np.linspace(0, length[-1], steps)
    traced = np.stack([np.interp(at, length, path[:, axis]) for axis in (0, 1)], axis=1)
    shake = chance.normal(0, wobble, (steps, 2))
    shake[1:] = (shake[1:] + shake[:-1]) * 0.7
    return traced + shake


def _filled(
    parts: Iterable[Part],
    chance: Chance,
    backdrop: tuple[int, int, int],
    *,
    spread: float = 18.0,
    width: int = 4,
    edge: tuple[int, int, int] | None = None,
    edge_width: int = 3,
) -> Image.Image:
    """Paint parts in their own colours, each closed one with an edge if a colour is given."""
    image = Image.new("RGB", (_FINE, _FINE), backdrop)
    brush = ImageDraw.Draw(image)
    shades = {colour: _shade(colour, chance, spread) for colour in COLOURS}
    for part in parts:
        corners = _corners(part.points)
        if part.closed:
            brush.polygon(corners, fill=shades[part.colour])
            if edge:
                brush.line([*corners, corners[0]], fill=edge, width=edge_width)
        else:
            brush.line(
                corners, fill=edge or shades[part.colour], width=edge_width if edge else width
            )
    return image


def _outlined(
    parts: Iterable[Part], chance: Chance, *, width: int, wobble: float = 0.0, overlap: bool = False
) -> Image.Image:
    """Trace parts in white on black, [L]; a part hides the lines behind it unless they overlap."""
    image = Image.new("L", (_FINE, _FINE), 0)
    brush = ImageDraw.Draw(image)
    for part in parts:
        points = _wobbly(part.points, part.closed, chance, wobble) if wobble else part.points
        corners = _corners(points)
        if part.closed and not overlap:
            brush.polygon(corners, fill=0)
        brush.line([*corners, corners[0]] if part.closed else corners, fill=255, width=width)
    return image


def _silhouette(parts: Iterable[Part], width: int = 4) -> Image.Image:
    """Fill all parts in white on black, [L]."""
    image = Image.new("L", (_FINE, _FINE), 0)
    brush = ImageDraw.Draw(image)
    for part in parts:
        corners = _corners(part.points)
        if part.closed:
            brush.polygon(corners, fill=255)
        else:
            brush.line(corners, fill=255, width=width)
    return image


def _cover(mask: Image.Image) -> Pixels:
    """Turn a mask into [SIZE, SIZE, 1], 0 to 1."""
    return _pixels(mask)[..., None] / np.float32(255)


def _stripes(chance: Chance, spacing: float, angle: float, share: float = 0.5) -> Pixels:
    """Rule parallel lines, [SIZE, SIZE, 1], 0 to 1; share is how much of the page they take."""
    down, across = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    phase = across * math.cos(angle) + down * math.sin(angle) + chance.random() * spacing
    waves: Pixels = ((phase % spacing) < share * spacing).astype(np.float32)[..., None]
    return waves


# The media


def _photo(scene: Scene, chance: Chance) -> Image.Image:
    ground = np.array(_shade(scene.backdrop, chance, 25), dtype=np.float32)
    down = np.linspace(-1, 1, SIZE, dtype=np.float32)[:, None, None]
    wall = ground * (0.7 + 0.45 * _clouds(chance, 4)) + down * chance.uniform(-40, 40)
    if chance.random() < 0.5:
        horizon = chance.uniform(-0.2, 0.5)
        floor = np.array(_shade("brown", chance, 40), dtype=np.float32)
        wall = np.where(down > horizon, floor * (0.8 + 0.4 * _clouds(chance, 7)), wall)
    clutter = _silhouette(scene.clutter).filter(ImageFilter.GaussianBlur(5))
    loose = _pixels(
        _filled(scene.clutter, chance, (90, 90, 90)).filter(ImageFilter.GaussianBlur(5))
    )
    picture = _blend(wall, loose, _cover(clutter))
    silhouette = _silhouette(scene.parts)
    cover = _cover(silhouette)
    shadow = np.roll(_cover(silhouette.filter(ImageFilter.GaussianBlur(6))), (4, 3), (0, 1))
    picture = picture * (1 - 0.5 * shadow)
    light = chance.uniform(-1, 1, 2)
    across = np.linspace(-1, 1, SIZE, dtype=np.float32)[None, :, None]
    shading = 1 + 0.35 * (light[0] * across + light[1] * down) + 0.25 * (_clouds(chance, 9) - 0.5)
    thing = _pixels(_filled(scene.parts, chance, (90, 90, 90), spread=22)) * shading
    picture = _blend(picture, thing, cover) * chance.uniform(0.75, 1.15) + _grain(chance, 5)
    return _picture(picture).filter(ImageFilter.GaussianBlur(chance.uniform(0.3, 0.9)))


def _pencil(scene: Scene, chance: Chance) -> Image.Image:
    paper = np.array(_shade(scene.backdrop, chance, 8), dtype=np.float32) + _grain(chance, 6)
    lines = _outlined(scene.parts, chance, width=2, wobble=0.005)
    again = _outlined(scene.parts, chance, width=2, wobble=0.007)
    doodles = _outlined(scene.clutter, chance, width=2, wobble=0.006)
    hatch = _stripes(chance, chance.uniform(2.5, 4), chance.uniform(0.4, 1.1)) * _clouds(chance, 4)
    dark = np.maximum(_cover(lines), 0.6 * _cover(again)) + 0.4 * _cover(doodles)
    dark = dark + 0.45 * hatch * _cover(_silhouette(scene.parts))
    dark = np.clip(dark * (0.75 + 0.5 * chance.random((SIZE, SIZE, 1))), 0, 1).astype(np.float32)
    return _picture(_blend(paper, (62, 62, 66), 0.85 * dark))


def _chalk(scene: Scene, chance: Chance) -> Image.Image:
    board = np.array(_shade(scene.backdrop, chance, 8), dtype=np.float32)
    board = board * 0.55 + 22 * _clouds(chance, 5) * _clouds(chance, 3) + _grain(chance, 4)
    stick = _shade(
        ("white", "white", "cream", "pink", "yellow")[int(chance.integers(5))], chance, 8
    )
    width = int(chance.integers(3, 6))
    lines = _outlined(scene.parts, chance, width=width, wobble=0.012)
    doodles = _outlined(scene.clutter, chance, width=width, wobble=0.012)
    dust = _cover(lines.filter(ImageFilter.GaussianBlur(5)))
    marks = _cover(lines) + 0.8 * _cover(doodles)
    if chance.random() < 0.4:
        rub = _stripes(chance, 5, chance.uniform(0.3, 1.3), 0.45) * _clouds(chance, 5)
        marks = marks + 0.55 * rub * _cover(_silhouette(scene.parts))
    crumble = (chance.random((SIZE, SIZE, 1)) < 0.7).astype(np.float32)
    wiped = np.clip(1.6 - 2.4 * _clouds(chance, 6), 0.08, 1)
    cover = np.clip(marks, 0, 1) * (0.2 + 0.8 * crumble) * wiped + 0.25 * dust
    return _picture(_blend(board, stick, np.clip(cover, 0, 1)))


def _blueprint(scene: Scene, chance: Chance) -> Image.Image:
    blue = np.array([24, 66, 148], dtype=np.float32) + chance.normal(0, 9, 3).astype(np.float32)
    sheet = blue + 14 * (_clouds(chance, 3) - 0.5)
    spacing = int(chance.integers(8, 14))
    grid = np.zeros((SIZE, SIZE, 1), dtype=np.float32)
    grid[chance.integers(spacing) :: spacing] = 1
    grid[:, chance.integers(spacing) :: spacing] = 1
    plan = _outlined(scene.parts, chance, width=2, overlap=chance.random() < 0.5)
    brush = ImageDraw.Draw(plan)
    every = np.concatenate([part.points for part in scene.parts]) * _FINE
    left, top = (float(v) for v in every.min(axis=0))
    right, low = (float(v) for v in every.max(axis=0))
    brush.line([(left, low + 9), (right, low + 9)], fill=190)
    brush.line([(right + 9, top), (right + 9, low)], fill=190)
    for x in (left, right):
        brush.line([(x, low + 4), (x, low + 14)], fill=190)
    for y in (top, low):
        brush.line([(right + 4, y), (right + 14, y)], fill=190)
    if chance.random() < 0.6:
        brush.line([((left + right) / 2, top - 12), ((left + right) / 2, low + 12)], fill=130)
    notes = _outlined(scene.clutter, chance, width=1)
    cover = np.clip(1.25 * _cover(plan) + 0.5 * _cover(notes) + 0.16 * grid, 0, 1)
    return _picture(_blend(sheet, (226, 236, 246), cover) + _grain(chance, 3))


def _neon(scene: Scene, chance: Chance) -> Image.Image:
    wall = np.array(_shade(scene.backdrop, chance, 10), dtype=np.float32) * 0.28
    courses = np.ones((SIZE, SIZE, 1), dtype=np.float32)
    courses[chance.integers(8) :: 8] = 0.55
    wall = wall * courses * (0.5 + _clouds(chance, 4)) + _grain(chance, 3)
    bright = ((255, 60, 120), (60, 220, 255), (120, 255, 90), (255, 170, 40), (190, 90, 255))
    picture = wall
    split = int(chance.integers(1, len(scene.parts) + 1))
    for parts, scale in (
        (scene.parts[:split], 1.0),
        (scene.parts[split:], 1.0),
        (scene.clutter, 0.4),
    ):
        if not parts:
            continue
        tube = _outlined(parts, chance, width=4)
        colour = np.array(bright[int(chance.integers(len(bright)))], dtype=np.float32)
        halo = 1.9 * _cover(tube.filter(ImageFilter.GaussianBlur(10)))
        near = 1.2 * _cover(tube.filter(ImageFilter.GaussianBlur(3)))
        core = 0.6 * 255 * _cover(tube)
        picture = picture + scale * ((halo + near) * colour * 0.75 + core)
    return _picture(picture)


def _mosaic(scene: Scene, chance: Chance) -> Image.Image:
    ground = _shade(scene.backdrop, chance, 15)
    whole = _filled((*scene.clutter, *scene.parts), chance, ground, width=8)
    tiles = int(chance.integers(22, 29))
    edge = SIZE // tiles + 1
    size = tiles * edge
    coarse = np.asarray(whole.resize((tiles, tiles), Image.Resampling.BOX), dtype=np.float32)
    coarse = coarse + chance.normal(0, 14, coarse.shape).astype(np.float32)
    laid = np.repeat(np.repeat(coarse, edge, axis=0), edge, axis=1)
    joint = 200.0 if chance.random() < 0.5 else 70.0
    laid[::edge] = laid[::edge] * 0.3 + joint * 0.7
    laid[:, ::edge] = laid[:, ::edge] * 0.3 + joint * 0.7
    picture = _picture(laid).rotate(
        chance.uniform(-4, 4), Image.Resampling.BILINEAR, fillcolor=ground
    )
    margin = (size - SIZE) // 2
    return picture.crop((margin, margin, margin + SIZE, margin + SIZE))


def _watercolour(scene: Scene, chance: Chance) -> Image.Image:
    paper = np.array(_shade(scene.backdrop, chance, 5), dtype=np.float32) + _grain(chance, 4)
    wash = np.array(_shade(list(COLOURS)[int(chance.integers(4, 13))], chance), dtype=np.float32)
    picture = _blend(paper, wash, 0.3 * _clouds(chance, 4) * _clouds(chance, 3))
    everything = (*scene.clutter, *scene.parts)
    loose = [
        Part(p.colour, _wobbly(p.points, p.closed, chance, 0.006), p.closed) for p in everything
    ]
    paint = _pixels(
        _filled(loose, chance, (235, 232, 225), spread=26).filter(ImageFilter.GaussianBlur(2.5))
    )
    shape = _silhouette(loose)
    body = _cover(shape.filter(ImageFilter.GaussianBlur(2)))
    rim = np.clip(_cover(shape) - _cover(shape.filter(ImageFilter.GaussianBlur(5))), 0, 1)
    cover = body * (0.4 + 0.45 * _clouds(chance, 6)) + 0.6 * rim
    picture = _blend(picture, paint, np.clip(cover, 0, 0.95))
    return _picture(picture + 0.4 * _grain(chance, 6))


def _embroidery(scene: Scene, chance: Chance) -> Image.Image:
    cloth = np.array(_shade(scene.backdrop, chance, 12), dtype=np.float32)
    weave = (_stripes(chance, 3, 0.0) + _stripes(chance, 3, np.pi / 2)) * 9 - 9
    cloth = cloth + weave + _grain(chance, 5)
    everything = (*scene.clutter, *scene.parts)
    thread = _pixels(_filled(everything, chance, (128, 128, 128), width=6))
    angle = chance.uniform(0, np.pi)
    rows = _stripes(chance, 3.5, angle, 0.62)
    cuts = _stripes(chance, 9, angle + np.pi / 2, 0.85)
    stitched = thread * (0.62 + 0.5 * rows * cuts) + _grain(chance, 6)
    cover = _cover(_silhouette(everything, width=6))
    seam = _cover(_outlined(scene.parts, chance, width=4)) * _stripes(chance, 6, angle + 0.8, 0.6)
    picture = _blend(cloth, stitched, cover)
    return _picture(_blend(picture, _shade("black", chance), 0.55 * seam))


def _woodcut(scene: Scene, chance: Chance) -> Image.Image:
    paper = np.array(_shade(scene.backdrop, chance, 8), dtype=np.float32)
    silhouette = _cover(_silhouette(scene.parts))
    lines = _cover(_outlined(scene.parts, chance, width=6, wobble=0.004))
    scraps = _cover(_silhouette(scene.clutter))
    bend = 6 * _clouds(chance, 3)[..., 0]
    down = np.arange(SIZE, dtype=np.float32)[:, None]
    spacing = chance.uniform(3.5, 5.5)
    cuts = (((down + bend) % spacing) < 0.45 * spacing).astype(np.float32)[..., None]
    inside = cuts * (_clouds(chance, 4) > 0.45)
    night = chance.random() < 0.4
    outside = np.maximum(
        1 - 0.9 * cuts if night else 0.5 * cuts * (_clouds(chance, 4) > 0.6), scraps
    )
    ink = np.maximum(outside * (1 - silhouette) + inside * silhouette, lines)
    ink = np.clip(ink * (chance.random((SIZE, SIZE, 1)) < 0.94), 0, 1).astype(np.float32)
    return _picture(_blend(paper, (28, 24, 24), ink) + _grain(chance, 3))


def _stained_glass(scene: Scene, chance: Chance) -> Image.Image:
    panes = Image.new("RGB", (_FINE, _FINE), _shade(scene.backdrop, chance))
    brush = ImageDraw.Draw(panes)
    hub = chance.uniform(0.3, 0.7, 2) * _FINE
    angles = np.sort(chance.uniform(0, 2 * np.pi, 9))
    far = [(float(hub[0] + 300 * np.cos(a)), float(hub[1] + 300 * np.sin(a))) for a in angles]
    lead = (22, 20, 24)
    tints = list(COLOURS)[4:12]
    for one, two in zip(far, far[1:] + far[:1], strict=True):
        near = chance.random() < 0.5
        tint = _shade(scene.backdrop if near else tints[int(chance.integers(8))], chance)
        brush.polygon([(float(hub[0]), float(hub[1])), one, two], fill=tint)
        brush.line([(float(hub[0]), float(hub[1])), one], fill=lead, width=6)
    glass = _filled(scene.parts, chance, (128, 128, 128), spread=28, edge=lead, edge_width=6)
    panes.paste(glass, mask=_silhouette(scene.parts, width=6))
    rim = _silhouette(scene.parts, width=8).filter(ImageFilter.MaxFilter(5))
    pixels = _pixels(panes)
    border = np.clip(_cover(rim) - _cover(_silhouette(scene.parts, width=8)), 0, 1)
    pixels = _blend(pixels, lead, border)
    glow = 0.65 + 0.75 * _clouds(chance, 4)
    mean = pixels.mean(axis=2, keepdims=True)
    return _picture((mean + 1.35 * (pixels - mean)) * glow + _grain(chance, 3))


def _pixel_art(scene: Scene, chance: Chance) -> Image.Image:
    ground = _shade(scene.backdrop, chance, 12)
    whole = _filled((*scene.clutter, *scene.parts), chance, ground, edge=(20, 18, 30), edge_width=6)
    cells = int((24, 32)[int(chance.integers(2))])
    small = whole.resize((cells, cells), Image.Resampling.BOX)
    few = small.quantize(int(chance.integers(8, 14))).convert("RGB")
    return few.resize((SIZE, SIZE), Image.Resampling.NEAREST)


MEDIA: dict[str, Medium] = {
    "photo": Medium(_photo, ("grey", "brown", "green", "cyan", "cream", "white", "blue")),
    "pencil": Medium(_pencil, ("white", "cream")),
    "chalk": Medium(_chalk, ("black", "black", "grey", "green")),
    "blueprint": Medium(_blueprint, ("blue",)),
    "neon": Medium(_neon, ("black", "brown", "blue", "purple")),
    "mosaic": Medium(_mosaic, ("white", "cream", "cyan", "grey", "blue", "green")),
    "watercolour": Medium(_watercolour, ("white", "cream")),
    "embroidery": Medium(_embroidery, ("white", "cream", "pink", "cyan", "grey")),
    "woodcut": Medium(_woodcut, ("white", "cream")),
    "stained glass": Medium(_stained_glass, ("yellow", "blue", "cyan", "purple", "green", "red")),
    "pixel art": Medium(_pixel_art, ("cyan", "green", "black", "blue", "white", "pink")),
}
"""From medium name to the medium."""
