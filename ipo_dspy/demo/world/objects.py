"""The objects of the demo world: one function each, from chance to parts, back to front."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ipo_dspy.demo.world.shapes import (
    Part,
    area,
    band,
    box,
    ellipse,
    line,
    mirrored,
    moved,
    polygon,
    smooth,
    turned,
)

Chance = np.random.Generator
Parts = list[Part]


def _one_of(chance: Chance, *colours: str) -> str:
    return colours[int(chance.integers(len(colours)))]


def _cup(chance: Chance) -> Parts:
    colour = _one_of(chance, "white", "red", "blue")
    wide, low = chance.uniform(0.42, 0.58), chance.uniform(0.5, 0.68)
    foot = wide * chance.uniform(0.65, 1.0)
    return [
        area(colour, moved(band(0, 0, 0.36, 0.24, -95, 95), wide * 0.9, -0.05)),
        area(colour, polygon(-wide, -0.6, wide, -0.6, foot, low, -foot, low)),
        area("brown", ellipse(0, -0.6, wide, 0.1)),
    ]


def _bowl(chance: Chance) -> Parts:
    colour = _one_of(chance, "white", "blue", "brown")
    wide, deep = chance.uniform(0.75, 0.95), chance.uniform(0.55, 0.75)
    rim = chance.uniform(0.12, 0.2)
    return [
        area(colour, box(-0.32, deep - 0.3, 0.32, deep - 0.06)),
        area(colour, ellipse(0, -0.2, wide, deep, 0, 180)),
        area(_one_of(chance, "orange", "green", "cream"), ellipse(0, -0.2, wide, rim)),
    ]


def _bottle(chance: Chance) -> Parts:
    colour = _one_of(chance, "green", "brown")
    wide, neck = chance.uniform(0.26, 0.38), chance.uniform(0.09, 0.13)
    shoulder = chance.uniform(-0.35, -0.1)
    half = smooth(neck, -0.8, neck, -0.55, wide, shoulder, wide, 0.9, closed=False)
    parts = [area(colour, mirrored(half)), area("red", box(-neck, -0.97, neck, -0.8))]
    if chance.random() < 0.7:
        parts.append(area("cream", box(-wide, 0.15, wide, 0.6)))
    return parts


def _vase(chance: Chance) -> Parts:
    colour = _one_of(chance, "blue", "white", "purple")
    belly, lip = chance.uniform(0.45, 0.6), chance.uniform(0.28, 0.4)
    half = smooth(
        lip, -0.85, lip * 0.6, -0.55, belly, 0.1, belly * 0.5, 0.7, belly * 0.6, 0.9, closed=False
    )
    parts = [area(colour, mirrored(half)), area("grey", ellipse(0, -0.85, lip, 0.08))]
    if chance.random() < 0.6:
        parts.append(line("yellow", -belly, 0.1, 0, 0.22, belly, 0.1))
    return parts


def _key(chance: Chance) -> Parts:
    colour = _one_of(chance, "yellow", "grey")
    bow, shaft = chance.uniform(0.28, 0.36), chance.uniform(0.05, 0.08)
    teeth = [area(colour, box(x, 0, x + 0.12, chance.uniform(0.2, 0.34))) for x in (0.5, 0.75)]
    return [
        area(colour, box(-0.4, -shaft, 0.92, shaft)),
        *teeth,
        area(colour, band(-0.6, 0, bow, bow * 0.5)),
    ]


def _hammer(chance: Chance) -> Parts:
    thick, head = chance.uniform(0.08, 0.12), chance.uniform(0.42, 0.55)
    return [
        area(_one_of(chance, "brown", "orange"), box(-thick, -0.6, thick, 0.95)),
        area("grey", box(-head, -0.85, head * 0.5, -0.45)),
        area("grey", polygon(head * 0.5, -0.85, head + 0.25, -0.55, head * 0.5, -0.55)),
    ]


def _spoon(chance: Chance) -> Parts:
    colour = _one_of(chance, "grey", "brown")
    wide, thick = chance.uniform(0.24, 0.32), chance.uniform(0.05, 0.08)
    return [
        area(colour, polygon(-thick, -0.3, thick, -0.3, thick * 1.5, 0.95, -thick * 1.5, 0.95)),
        area(colour, ellipse(0, -0.55, wide, 0.4)),
        area("white", ellipse(-0.03, -0.55, wide * 0.6, 0.26)),
    ]


def _fork(chance: Chance) -> Parts:
    thick, wide = chance.uniform(0.05, 0.08), chance.uniform(0.24, 0.3)
    tines = [
        area("grey", box(x - 0.045, -0.95, x + 0.045, -0.3))
        for x in (-wide, -wide / 3, wide / 3, wide)
    ]
    return [
        area("grey", polygon(-thick, -0.1, thick, -0.1, thick * 1.5, 0.95, -thick * 1.5, 0.95)),
        area("grey", polygon(-wide - 0.04, -0.42, wide + 0.04, -0.42, thick, 0, -thick, 0)),
        *tines,
    ]


def _fish(chance: Chance) -> Parts:
    colour = _one_of(chance, "orange", "blue", "grey")
    tall = chance.uniform(0.34, 0.48)
    return [
        area(colour, polygon(0.45, 0, 0.95, -0.42, 0.85, 0, 0.95, 0.42)),
        area(colour, polygon(-0.2, -tall * 0.8, 0.25, -tall * 1.5, 0.3, -tall * 0.5)),
        area(colour, ellipse(-0.15, 0, 0.75, tall)),
        line("black", -0.45, -tall * 0.75, -0.36, 0, -0.45, tall * 0.75),
        area("black", ellipse(-0.65, -0.08, 0.06)),
    ]


def _whale(chance: Chance) -> Parts:
    colour = _one_of(chance, "blue", "grey")
    back = chance.uniform(-0.45, -0.3)
    parts = [
        area(
            colour,
            smooth(
                -0.92, 0.1, -0.6, back, 0, back, 0.5, 0.1, 0.72, -0.15,
                0.5, -0.45, 0.8, -0.35, 1.0, -0.5, 0.92, -0.05, 0.5, 0.48, -0.6, 0.5,
            ),
        ),
        area("white", smooth(-0.88, 0.2, -0.2, 0.3, 0.3, 0.4, -0.55, 0.48)),
        area("black", ellipse(-0.62, 0.0, 0.05)),
    ]  # fmt: skip
    if chance.random() < 0.7:
        parts.append(
            line("blue", -0.55, -0.85, -0.4, -0.95, -0.32, back, -0.24, -0.95, -0.1, -0.85)
        )
    return parts


def _tree(chance: Chance) -> Parts:
    trunk = area("brown", box(-0.1, 0.2, 0.1, 0.95))
    if chance.random() < 0.35:
        tiers = [(-0.95, 0.3), (-0.6, 0.48), (-0.2, 0.64)]
        return [trunk] + [
            area("green", polygon(0, top, wide, top + 0.62, -wide, top + 0.62))
            for top, wide in tiers
        ]
    wide = chance.uniform(0.5, 0.66)
    crown = smooth(
        0, -0.95, wide * 0.75, -0.75, wide, -0.3, wide * 0.7, 0.2, 0, 0.32,
        -wide * 0.7, 0.2, -wide, -0.3, -wide * 0.75, -0.75,
    )  # fmt: skip
    return [trunk, area("green", crown)]


def _mushroom(chance: Chance) -> Parts:
    colour = _one_of(chance, "red", "brown")
    wide, stem = chance.uniform(0.65, 0.82), chance.uniform(0.16, 0.26)
    parts = [
        area("cream", polygon(-stem, 0, stem, 0, stem * 1.3, 0.85, -stem * 1.3, 0.85)),
        area(colour, ellipse(0, 0.02, wide, 0.75, 180, 360)),
    ]
    if colour == "red":
        spots = ((-0.4, -0.2), (0.0, -0.45), (0.38, -0.18))
        parts += [area("white", ellipse(x, y, 0.1)) for x, y in spots]
    return parts


def _apple(chance: Chance) -> Parts:
    colour = _one_of(chance, "red", "red", "green")
    wide = chance.uniform(0.68, 0.8)
    half = smooth(
        0, -0.42, wide * 0.5, -0.58, wide, -0.2, wide * 0.7, 0.6, 0.2, 0.8, 0, 0.72, closed=False
    )
    parts = [area(colour, mirrored(half)), line("brown", 0, -0.42, 0.08, -0.85)]
    if chance.random() < 0.7:
        parts.append(area("green", smooth(0.06, -0.65, 0.3, -0.92, 0.5, -0.75, 0.3, -0.62)))
    return parts


def _pear(chance: Chance) -> Parts:
    colour = _one_of(chance, "green", "yellow")
    wide = chance.uniform(0.5, 0.64)
    half = smooth(
        0, -0.7, 0.22, -0.6, 0.28, -0.2, wide, 0.35, wide * 0.6, 0.82, 0, 0.86, closed=False
    )
    parts = [area(colour, mirrored(half)), line("brown", 0, -0.7, -0.06, -0.95)]
    if chance.random() < 0.4:
        parts.append(area("green", smooth(0.0, -0.78, 0.25, -0.98, 0.42, -0.82, 0.22, -0.72)))
    return parts


def _wheels(chance: Chance, *places: float) -> Parts:
    radius = chance.uniform(0.17, 0.22)
    tyres = [area("black", ellipse(x, 0.45, radius)) for x in places]
    return tyres + [area("grey", ellipse(x, 0.45, radius * 0.45)) for x in places]


def _car(chance: Chance) -> Parts:
    colour = _one_of(chance, "red", "blue", "yellow")
    roof = chance.uniform(-0.45, -0.32)
    return [
        area(colour, polygon(-0.55, -0.02, -0.35, roof, 0.25, roof, 0.5, -0.02)),
        area("cyan", polygon(-0.42, -0.04, -0.28, roof + 0.08, 0.18, roof + 0.08, 0.36, -0.04)),
        area(
            colour, smooth(-0.95, 0.05, -0.5, -0.04, 0.5, -0.04, 0.9, 0.08, 0.95, 0.4, -0.95, 0.4)
        ),
        *_wheels(chance, -0.52, 0.52),
    ]


def _bus(chance: Chance) -> Parts:
    colour = _one_of(chance, "yellow", "red", "green")
    roof = chance.uniform(-0.65, -0.5)
    windows = [
        area("cyan", box(x, roof + 0.15, x + 0.28, -0.08)) for x in (-0.85, -0.45, -0.05, 0.35)
    ]
    return [
        area(colour, box(-0.95, roof, 0.95, 0.42)),
        *windows,
        area("white", box(0.7, roof + 0.15, 0.88, 0.4)),
        *_wheels(chance, -0.55, 0.45),
    ]


def _house(chance: Chance) -> Parts:
    wide, eaves = chance.uniform(0.58, 0.72), chance.uniform(-0.2, -0.05)
    parts = [
        area(_one_of(chance, "cream", "white"), box(-wide, eaves, wide, 0.85)),
        area("red", polygon(-wide - 0.15, eaves, 0, -0.85, wide + 0.15, eaves)),
        area("brown", box(-0.14, 0.35, 0.14, 0.85)),
        area("cyan", box(-wide + 0.1, 0.1, -0.24, 0.38)),
        area("cyan", box(0.24, 0.1, wide - 0.1, 0.38)),
    ]
    if chance.random() < 0.5:
        parts.insert(0, area("brown", box(0.3, -0.85, 0.48, -0.3)))
    return parts


def _church(chance: Chance) -> Parts:
    colour = _one_of(chance, "white", "grey")
    tower = chance.uniform(0.2, 0.28)
    return [
        area(colour, box(-0.2, 0.15, 0.9, 0.85)),
        area("brown", polygon(-0.3, 0.15, 0.0, -0.2, 0.75, -0.2, 0.98, 0.15)),
        area(colour, box(-0.4 - tower, -0.25, -0.4 + tower, 0.85)),
        area("brown", polygon(-0.45 - tower, -0.25, -0.4, -0.72, -0.35 + tower, -0.25)),
        line("black", -0.4, -0.72, -0.4, -1.0),
        line("black", -0.5, -0.9, -0.3, -0.9),
        area("yellow", ellipse(-0.4, 0.0, 0.09)),
        area("brown", box(-0.5, 0.5, -0.3, 0.85)),
        area("yellow", box(0.35, 0.35, 0.55, 0.6)),
    ]


def _chair(chance: Chance) -> Parts:
    colour = _one_of(chance, "brown", "red")
    back, seat = chance.uniform(-0.95, -0.8), chance.uniform(0.05, 0.2)
    legs = [area(colour, box(x, seat, x + 0.1, 0.95)) for x in (-0.5, 0.4)]
    rails = [area(colour, box(-0.5, y, -0.1, y + 0.1)) for y in (back + 0.1, (back + seat) / 2)]
    slats = rails if chance.random() < 0.4 else [area(colour, box(-0.5, back, -0.36, seat))]
    return [
        area(colour, box(-0.5, back, -0.4, seat)),
        *slats,
        area(
            colour,
            polygon(-0.55, seat - 0.06, 0.55, seat - 0.06, 0.55, seat + 0.1, -0.55, seat + 0.1),
        ),
        *legs,
    ]


def _table(chance: Chance) -> Parts:
    colour = _one_of(chance, "brown", "white")
    top, inset = chance.uniform(-0.4, -0.25), chance.uniform(0.05, 0.2)
    return [
        area(colour, box(-0.85 + inset, top, -0.73 + inset, 0.7)),
        area(colour, box(0.73 - inset, top, 0.85 - inset, 0.7)),
        area(colour, box(-0.95, top, 0.95, top + 0.16)),
        *([area(colour, box(-0.6, top + 0.16, 0.6, top + 0.34))] if chance.random() < 0.5 else []),
    ]


def _book(chance: Chance) -> Parts:
    colour = _one_of(chance, "red", "blue", "brown")
    drop, low = chance.uniform(0.08, 0.2), chance.uniform(0.5, 0.62)
    page = [0.0, -0.45, 0.85, -0.45 - drop, 0.85, low - drop, 0.0, low]
    left = [-x if i % 2 == 0 else x for i, x in enumerate(page)]
    rows = np.linspace(-0.3, low - 0.35, 4)
    parts = [
        area(
            colour,
            polygon(-0.95, -0.4 - drop, 0.95, -0.4 - drop, 0.95, low, 0, low + 0.12, -0.95, low),
        ),
        area("white", polygon(*page)),
        area("white", polygon(*left)),
    ]
    for y in rows:
        parts.append(line("grey", 0.12, y, 0.72, y - drop))
        parts.append(line("grey", -0.12, y, -0.72, y - drop))
    return parts


def _envelope(chance: Chance) -> Parts:
    colour = _one_of(chance, "white", "cream")
    tall, tip = chance.uniform(0.5, 0.62), chance.uniform(0.0, 0.2)
    return [
        area(colour, box(-0.9, -tall, 0.9, tall)),
        line("brown", -0.9, tall, -0.2, 0.0),
        line("brown", 0.9, tall, 0.2, 0.0),
        area(colour, polygon(-0.9, -tall, 0.9, -tall, 0, tip)),
        *([area("red", ellipse(0, tip, 0.13))] if chance.random() < 0.6 else []),
    ]


def _clock(chance: Chance) -> Parts:
    colour = _one_of(chance, "brown", "black", "red")
    hour, minute = chance.uniform(0, 2 * np.pi, 2)
    ticks = [
        line("black", 0.58 * np.cos(a), 0.58 * np.sin(a), 0.68 * np.cos(a), 0.68 * np.sin(a))
        for a in np.arange(12) * np.pi / 6
    ]
    return [
        area(colour, ellipse(0, 0, 0.88)),
        area("white", ellipse(0, 0, 0.74)),
        *ticks,
        line("black", 0, 0, 0.36 * np.cos(hour), 0.36 * np.sin(hour)),
        line("black", 0, 0, 0.54 * np.cos(minute), 0.54 * np.sin(minute)),
    ]


def _wheel(chance: Chance) -> Parts:
    spokes, turn = int(chance.integers(3, 6)), chance.uniform(0, np.pi)
    rim = chance.uniform(0.62, 0.72)
    angles = turn + np.arange(spokes) * np.pi / spokes
    return [
        area(_one_of(chance, "black", "brown"), band(0, 0, 0.88, rim)),
        *(
            line("grey", -rim * np.cos(a), -rim * np.sin(a), rim * np.cos(a), rim * np.sin(a))
            for a in angles
        ),
        area("grey", ellipse(0, 0, 0.16)),
    ]


def _star(chance: Chance) -> Parts:
    inner = chance.uniform(0.36, 0.46)
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    radii = np.where(np.arange(10) % 2 == 0, 0.95, inner)
    points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    return [area(_one_of(chance, "yellow", "yellow", "orange"), points)]


def _flower(chance: Chance) -> Parts:
    colour = _one_of(chance, "pink", "purple", "red")
    petals = int(chance.integers(5, 8))
    petal = moved(ellipse(0, 0, 0.24, 0.17), 0.32, 0)
    return [
        line("green", 0, -0.2, 0.05, 0.4, 0, 0.98),
        area("green", smooth(0.04, 0.6, 0.3, 0.3, 0.48, 0.35, 0.25, 0.6)),
        *(area(colour, moved(turned(petal, 360 * i / petals), 0, -0.4)) for i in range(petals)),
        area("yellow", ellipse(0, -0.4, 0.17)),
    ]


def _bird(chance: Chance) -> Parts:
    colour = _one_of(chance, "red", "blue", "brown")
    wing = chance.uniform(-0.95, -0.6)
    return [
        area(colour, polygon(0.35, 0.05, 0.98, -0.1, 0.92, 0.22)),
        area(colour, ellipse(0.05, 0.1, 0.55, 0.34)),
        area(colour, ellipse(-0.5, -0.2, 0.27)),
        area("yellow", polygon(-0.74, -0.28, -0.98, -0.14, -0.74, -0.08)),
        area(colour, polygon(-0.2, 0.0, 0.35, wing, 0.4, 0.05)),
        area("black", ellipse(-0.56, -0.26, 0.05)),
        line("orange", 0.0, 0.42, -0.04, 0.8),
        line("orange", 0.18, 0.42, 0.16, 0.8),
    ]


def _duck(chance: Chance) -> Parts:
    colour = _one_of(chance, "yellow", "white")
    neck = chance.uniform(-0.55, -0.42)
    return [
        area("orange", polygon(-0.6, neck - 0.1, -1.0, neck, -0.98, neck + 0.1, -0.6, neck + 0.1)),
        area(
            colour,
            smooth(
                -0.62, neck, -0.4, neck - 0.28, -0.14, neck, -0.2, 0.0, 0.3, -0.02,
                0.95, -0.3, 0.8, 0.4, 0.2, 0.62, -0.45, 0.5, -0.62, 0.15, -0.5, -0.1,
            ),
        ),
        line("orange", -0.1, 0.2, 0.2, 0.35, 0.6, 0.1),
        area("black", ellipse(-0.45, neck - 0.04, 0.05)),
    ]  # fmt: skip


def _whiskers(colour: str) -> Parts:
    return [
        line(colour, side * 0.15, 0.25, side * 0.85, 0.25 + slope)
        for side in (-1, 1)
        for slope in (-0.1, 0.15)
    ]


def _cat(chance: Chance) -> Parts:
    colour = _one_of(chance, "orange", "grey", "black")
    ear = chance.uniform(-0.95, -0.75)
    eyes = "green" if colour != "grey" else "yellow"
    return [
        area(colour, polygon(-0.65, 0, -0.6, ear, -0.1, -0.4)),
        area(colour, polygon(0.65, 0, 0.6, ear, 0.1, -0.4)),
        area(colour, ellipse(0, 0.12, 0.72, 0.6)),
        area(eyes, ellipse(-0.28, 0.0, 0.11, 0.08)),
        area(eyes, ellipse(0.28, 0.0, 0.11, 0.08)),
        area("pink", polygon(-0.09, 0.2, 0.09, 0.2, 0, 0.32)),
        *_whiskers("white" if colour == "black" else "black"),
    ]


def _rabbit(chance: Chance) -> Parts:
    colour = _one_of(chance, "white", "grey", "brown")
    lean = chance.uniform(0.2, 0.34)
    ears = [
        area(c, moved(turned(ellipse(0, 0, w, h), side * 10), side * lean, -0.5))
        for side in (-1, 1)
        for c, w, h in ((colour, 0.17, 0.46), ("pink", 0.08, 0.32))
    ]
    return [
        *ears,
        area(colour, ellipse(0, 0.35, 0.58, 0.52)),
        area("black", ellipse(-0.22, 0.2, 0.07)),
        area("black", ellipse(0.22, 0.2, 0.07)),
        area("pink", ellipse(0, 0.4, 0.08, 0.06)),
        line("black", -0.15, 0.58, 0, 0.5, 0.15, 0.58),
    ]


def _boat(chance: Chance) -> Parts:
    colour = _one_of(chance, "brown", "red", "blue")
    mast = chance.uniform(-0.15, 0.1)
    sail = _one_of(chance, "white", "white", "cream")
    return [
        line("brown", mast, -0.95, mast, 0.4),
        area(sail, polygon(mast + 0.05, -0.9, mast + 0.65, 0.25, mast + 0.05, 0.25)),
        area(sail, polygon(mast - 0.05, -0.7, mast - 0.05, 0.25, mast - 0.5, 0.25)),
        area(colour, polygon(-0.9, 0.4, 0.9, 0.4, 0.6, 0.8, -0.6, 0.8)),
    ]


def _rocket(chance: Chance) -> Parts:
    wide = chance.uniform(0.24, 0.34)
    return [
        area("orange", polygon(-wide * 0.6, 0.55, wide * 0.6, 0.55, 0, chance.uniform(0.85, 1.0))),
        area("red", polygon(-wide, 0.1, -wide * 2.1, 0.7, -wide * 0.8, 0.55)),
        area("red", polygon(wide, 0.1, wide * 2.1, 0.7, wide * 0.8, 0.55)),
        area(
            _one_of(chance, "white", "grey"),
            mirrored(smooth(0, -0.98, wide, -0.35, wide, 0.2, wide * 0.7, 0.58, closed=False)),
        ),
        area("blue", ellipse(0, -0.25, wide * 0.5)),
    ]


def _hat(chance: Chance) -> Parts:
    colour = _one_of(chance, "black", "brown")
    wide, tall = chance.uniform(0.42, 0.55), chance.uniform(-0.75, -0.4)
    return [
        area(colour, ellipse(0, 0.42, 0.95, 0.17)),
        area(colour, polygon(-wide, 0.42, -wide * 0.9, tall, wide * 0.9, tall, wide, 0.42)),
        area(_one_of(chance, "red", "white"), box(-wide, 0.14, wide, 0.36)),
    ]


def _crown(chance: Chance) -> Parts:
    valley, tip = chance.uniform(-0.1, 0.1), chance.uniform(-0.75, -0.6)
    return [
        area(
            "yellow",
            polygon(
                -0.75,
                0.6,
                -0.9,
                tip + 0.12,
                -0.42,
                valley,
                0,
                tip,
                0.42,
                valley,
                0.9,
                tip + 0.12,
                0.75,
                0.6,
            ),
        ),
        area("red", box(-0.76, 0.38, 0.76, 0.6)),
        *(area("blue", ellipse(x, y, 0.08)) for x, y in ((-0.9, tip), (0, tip - 0.1), (0.9, tip))),
    ]


def _shoe(chance: Chance) -> Parts:
    colour = _one_of(chance, "brown", "black", "red")
    ankle = chance.uniform(-0.5, -0.3)
    return [
        area(
            colour,
            smooth(
                0.85, 0.45, 0.9, ankle, 0.3, ankle, 0.1, 0.0, -0.6, 0.12, -0.95, 0.35, -0.9, 0.48
            ),
        ),
        area("white" if colour != "brown" else "black", box(-0.95, 0.42, 0.9, 0.58)),
        line("white", 0.02, 0.0, 0.25, 0.12),
        line("white", 0.12, -0.16, 0.36, -0.02),
        line("white", 0.2, -0.32, 0.46, -0.18),
    ]


def _sock(chance: Chance) -> Parts:
    colour = _one_of(chance, "red", "green", "pink")
    wide = chance.uniform(0.24, 0.3)
    right = 0.2 + wide
    return [
        area(
            colour,
            smooth(
                0.2 - wide,
                -0.9,
                right,
                -0.9,
                right,
                0.5,
                0.2,
                0.88,
                -0.6,
                0.85,
                -0.7,
                0.5,
                -0.1,
                0.3,
            ),
        ),
        area("white", box(0.17 - wide, -0.95, right + 0.03, -0.66)),
        *(line("white", 0.2 - wide, y, right, y) for y in (-0.4, -0.12)),
    ]


def _lamp(chance: Chance) -> Parts:
    wide, top = chance.uniform(0.5, 0.65), chance.uniform(0.22, 0.34)
    base = _one_of(chance, "brown", "grey")
    return [
        area(base, box(-0.06, -0.1, 0.06, 0.75)),
        area(base, ellipse(0, 0.8, 0.36, 0.12)),
        area(
            _one_of(chance, "yellow", "cream"),
            polygon(-top, -0.9, top, -0.9, wide, -0.1, -wide, -0.1),
        ),
    ]


def _candle(chance: Chance) -> Parts:
    wide, top = chance.uniform(0.16, 0.26), chance.uniform(-0.4, -0.2)
    return [
        area(_one_of(chance, "yellow", "brown"), ellipse(0, 0.78, 0.6, 0.16)),
        area(_one_of(chance, "cream", "white", "red"), box(-wide, top, wide, 0.75)),
        line("black", 0, top, 0, top - 0.12),
        area("orange", smooth(0, top - 0.58, 0.13, top - 0.2, 0, top - 0.08, -0.13, top - 0.2)),
    ]


def _umbrella(chance: Chance) -> Parts:
    colour = _one_of(chance, "red", "purple", "blue")
    low = chance.uniform(0.0, 0.12)
    scallops = [area(colour, ellipse(x, low, 0.31, 0.12, 180, 360)) for x in (-0.6, 0.0, 0.6)]
    return [
        line("brown", 0, -0.8, 0, 0.75, 0.1, 0.88, 0.24, 0.85, 0.28, 0.7),
        area(colour, ellipse(0, low, 0.92, 0.85, 180, 360)),
        *scallops,
        line("black", -0.3, low, 0, low - 0.84, 0.3, low),
    ]


def _balloon(chance: Chance) -> Parts:
    colour = _one_of(chance, "red", "pink", "blue")
    wide = chance.uniform(0.46, 0.58)
    return [
        Part(
            "grey", smooth(0, 0.3, 0.08, 0.5, -0.08, 0.72, 0.05, 0.98, closed=False), closed=False
        ),
        area(colour, polygon(0, 0.16, 0.1, 0.34, -0.1, 0.34)),
        area(colour, ellipse(0, -0.36, wide, 0.58)),
        area("white", ellipse(-wide * 0.4, -0.58, 0.1, 0.15)),
    ]


def _guitar(chance: Chance) -> Parts:
    colour = _one_of(chance, "brown", "orange")
    hip, waist = chance.uniform(0.42, 0.5), chance.uniform(0.22, 0.28)
    half = smooth(0, -0.1, 0.3, 0.0, waist, 0.28, hip, 0.65, 0.2, 0.95, 0, 0.97, closed=False)
    return [
        area("black", box(-0.06, -0.8, 0.06, 0.1)),
        area("brown", box(-0.11, -1.0, 0.11, -0.76)),
        area(colour, mirrored(half)),
        area("black", ellipse(0, 0.32, 0.12)),
        area("black", box(-0.16, 0.66, 0.16, 0.72)),
    ]


def _bell(chance: Chance) -> Parts:
    wide = chance.uniform(0.62, 0.78)
    half = smooth(0, -0.75, 0.3, -0.6, 0.42, 0.1, wide, 0.5, closed=False)
    return [
        area("brown", ellipse(0, 0.58, 0.15)),
        area("yellow", band(0, -0.8, 0.14, 0.07)),
        area("yellow", mirrored(half)),
        line("brown", -wide * 0.85, 0.36, wide * 0.85, 0.36),
    ]


def _leaf(chance: Chance) -> Parts:
    wide = chance.uniform(0.4, 0.55)
    half = smooth(0, -0.95, wide * 0.7, -0.4, wide, 0.1, wide * 0.5, 0.5, 0, 0.62, closed=False)
    veins = [
        line("yellow", 0, y, side * wide * 0.6, y - 0.25) for y in (-0.15, 0.2) for side in (-1, 1)
    ]
    colour = _one_of(chance, "green", "green", "orange")
    return [area(colour, mirrored(half)), line("yellow", 0, -0.8, 0, 0.98), *veins]


def _cactus(chance: Chance) -> Parts:
    left, right = chance.uniform(-0.35, -0.05), chance.uniform(-0.5, -0.15)
    return [
        area("green", smooth(-0.2, 0.3, -0.2, -0.8, 0, -0.95, 0.2, -0.8, 0.2, 0.3)),
        area(
            "green",
            polygon(-0.2, 0.1, -0.65, 0.1, -0.65, left, -0.47, left, -0.47, -0.06, -0.2, -0.06),
        ),
        area(
            "green", polygon(0.2, 0.0, 0.65, 0.0, 0.65, right, 0.47, right, 0.47, -0.16, 0.2, -0.16)
        ),
        area("orange", polygon(-0.42, 0.35, 0.42, 0.35, 0.3, 0.95, -0.3, 0.95)),
    ]


def _scissors(chance: Chance) -> Parts:
    spread = chance.uniform(14, 26)
    blade = polygon(-0.07, 0.1, 0.0, -0.98, 0.08, 0.1, 0.06, 0.4, -0.06, 0.4)
    loop = band(0, 0.62, 0.26, 0.15)
    handle = _one_of(chance, "red", "orange", "black")
    return [
        *(area("grey", turned(blade, side * spread)) for side in (-1, 1)),
        *(area(handle, turned(loop, side * spread)) for side in (-1, 1)),
        area("black", ellipse(0, 0, 0.05)),
    ]


def _glasses(chance: Chance) -> Parts:
    colour = _one_of(chance, "black", "brown", "red")
    radius = chance.uniform(0.34, 0.42)
    return [
        line(colour, -0.92, -0.1, -0.98, -0.4),
        line(colour, 0.92, -0.1, 0.98, -0.4),
        *(area("cyan", ellipse(x, 0, radius * 0.8)) for x in (-0.5, 0.5)),
        *(area(colour, band(x, 0, radius, radius * 0.76)) for x in (-0.5, 0.5)),
        line(colour, -0.15, -0.05, 0, -0.13, 0.15, -0.05),
    ]


def _phone(chance: Chance) -> Parts:
    wide = chance.uniform(0.42, 0.52)
    keys = [
        area("white", ellipse(x * wide * 0.55, y, 0.07))
        for y in (0.25, 0.47, 0.69)
        for x in (-1, 0, 1)
    ]
    return [
        area(_one_of(chance, "black", "grey"), box(-wide, -0.95, wide, 0.95)),
        area("cyan", box(-wide * 0.78, -0.75, wide * 0.78, 0.05)),
        *keys,
    ]


def _camera(chance: Chance) -> Parts:
    radius = chance.uniform(0.32, 0.4)
    return [
        area("grey", polygon(-0.35, -0.45, -0.22, -0.68, 0.22, -0.68, 0.35, -0.45)),
        area(_one_of(chance, "black", "grey"), box(-0.92, -0.46, 0.92, 0.62)),
        area("grey", ellipse(0, 0.08, radius)),
        area("blue", ellipse(0, 0.08, radius * 0.6)),
        area("red", ellipse(0.68, -0.26, 0.09)),
        *([area("white", box(-0.8, -0.34, -0.5, -0.16))] if chance.random() < 0.6 else []),
    ]


# Base and novel classes come in look-alike pairs, so that neither half is the easier one.
_PAIRS: tuple[tuple[Callable[[Chance], Parts], Callable[[Chance], Parts]], ...] = (
    (_cup, _bowl),
    (_bottle, _vase),
    (_key, _hammer),
    (_spoon, _fork),
    (_fish, _whale),
    (_tree, _mushroom),
    (_apple, _pear),
    (_car, _bus),
    (_house, _church),
    (_chair, _table),
    (_book, _envelope),
    (_clock, _wheel),
    (_star, _flower),
    (_bird, _duck),
    (_cat, _rabbit),
    (_boat, _rocket),
    (_hat, _crown),
    (_shoe, _sock),
    (_lamp, _candle),
    (_umbrella, _balloon),
    (_guitar, _bell),
    (_leaf, _cactus),
    (_scissors, _glasses),
    (_phone, _camera),
)

OBJECTS: dict[str, Callable[[Chance], Parts]] = {
    build.__name__.lstrip("_"): build for half in (0, 1) for build in (p[half] for p in _PAIRS)
}
"""From class name to the function that builds its parts; base classes first."""
