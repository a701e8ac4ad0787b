"""The generators of synthetic stand-ins, one a modality.

Each takes labels (n,), class names, the side in pixels and a random generator, and gives (n, side, side, c)
with values near [0, 1]. Coordinates run from -1 (top, left) to 1; numbers of an image have shape (n, 1, 1).
"""

from collections.abc import Callable

import numpy as np

from medtk.data import preprocessing


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    axis = np.linspace(-1, 1, side)
    return axis[None, :, None], axis[None, None, :]


def _uniform(rng: np.random.Generator, low: float, high: float, labels: np.ndarray) -> np.ndarray:
    return rng.uniform(low, high, (len(labels), 1, 1))


def _noise(rng: np.random.Generator, n: int, side: int, grain: int) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation near 1, whose lumps are about `grain` pixels wide."""
    coarse = rng.standard_normal((n, max(2, side // grain), max(2, side // grain), 1))
    return preprocessing.resize(coarse, side)[..., 0] * 1.4


def _inside(distance: np.ndarray, softness: float = 0.1) -> np.ndarray:
    """1 where `distance` is well below 1, 0 well above, smooth between."""
    return 1 / (1 + np.exp(np.clip((distance - 1) / (softness / 4), -50, 50)))


def _severity(labels: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return (labels / max(1, len(names) - 1))[:, None, None]


def _ultrasound(labels, names, side, rng):
    """Dark lesion in speckle: ragged, upright, with a shadow below in class 0; smooth, flat in the last."""
    y, x = _grid(side)
    smooth = _severity(labels, names)
    cy, cx = _uniform(rng, -0.3, 0.1, labels), _uniform(rng, -0.25, 0.25, labels)
    radius = _uniform(rng, 0.3, 0.42, labels)
    flat = 0.75 + 0.7 * smooth
    angle = np.arctan2(y - cy, x - cx)
    ragged = (1 - smooth) * 0.2 * np.sin(7 * angle + _uniform(rng, 0, 6.28, labels))
    distance = np.hypot((x - cx) / flat, (y - cy) * flat) / (radius * (1 + ragged))
    shadow = (y > cy) * _inside(np.abs(x - cx) / radius)
    tissue = (0.62 - 0.18 * y) * (1 - 0.8 * _inside(distance)) * (1 + (0.9 * smooth - 0.55) * shadow)
    speckle = np.hypot(*(_noise(rng, len(labels), side, 2) for _ in range(2))) / 1.25
    return (tissue * (0.45 + 0.55 * speckle))[..., None]


def _xray(labels, names, side, rng):
    """Two dark lungs under ribs; each class but the first adds haze low in the lungs, more and more."""
    y, x = _grid(side)
    n, shift = len(labels), _uniform(rng, -0.06, 0.06, labels)
    lungs = sum(_inside(np.hypot((x - shift - c) / 0.34, (y - shift) / 0.72)) for c in (-0.42, 0.42))
    ribs = 0.06 * np.sin(16 * y + 5 * np.abs(x) + _uniform(rng, 0, 6.28, labels))
    spine = 0.2 * np.exp(-(((x - shift) / 0.12) ** 2))
    haze = _inside(np.hypot(np.abs(x) - 0.4, (y - 0.25) / 1.2) / 0.35, 0.8) * (1 + 0.3 * _noise(rng, n, side, 5))
    image = 0.72 - 0.48 * lungs + ribs + spine + 0.4 * _severity(labels, names) * haze * lungs
    return (image * _uniform(rng, 0.9, 1.1, labels) + 0.02 * rng.standard_normal(image.shape))[..., None]


def _mammogram(labels, names, side, rng):
    """A bright half-disc of tissue; a round mass in class 1, a star-shaped one in class 2."""
    y, x = _grid(side)
    breast = _inside(np.hypot((x + 1) / 1.6, y / 0.9))
    cy, cx = _uniform(rng, -0.3, 0.3, labels), _uniform(rng, -0.6, -0.1, labels)
    star = 0.4 * np.sin(9 * np.arctan2(y - cy, x - cx)) * (labels == 2)[:, None, None]
    mass = _inside(np.hypot(x - cx, y - cy) / (_uniform(rng, 0.2, 0.3, labels) * (1 + star)))
    texture = 0.35 + 0.06 * _noise(rng, len(labels), side, 4)
    return (breast * (texture + 0.4 * mass * (labels > 0)[:, None, None]))[..., None]


def _dermatoscopy(labels, names, side, rng):
    """A spot on skin; its colour and how far it is from round tell the class."""
    y, x = _grid(side)
    t = _severity(labels, names)
    angle = np.arctan2(y, x)
    uneven = (1 - t) * 0.25 * np.sin(3 * angle + _uniform(rng, 0, 6.28, labels))
    spot = _inside(np.hypot(x, y) / (_uniform(rng, 0.45, 0.65, labels) * (1 + uneven)), 0.3)
    skin = np.array([0.87, 0.68, 0.6])
    wheel = 6.28 * (labels / len(names))[:, None] + np.array([0.0, 2.1, 4.2])
    paint = np.clip(np.array([0.5, 0.32, 0.28]) + 0.22 * np.sin(wheel), 0.05, 0.95)[:, None, None, :]
    image = skin + spot[..., None] * (paint - skin)
    return image * (1 + 0.06 * _noise(rng, len(labels), side, 3)[..., None])


def _oct(labels, names, side, rng):
    """Bright layers over dark; a mound (neovascularization), dark cysts (oedema) or small bumps (drusen)."""
    y, x = _grid(side)
    n, kinds = len(labels), np.array([name.split()[0] for name in names])[labels][:, None, None]
    phase, level = _uniform(rng, 0, 6.28, labels), _uniform(rng, -0.1, 0.1, labels)
    top = level - 0.25 + 0.12 * x**2 + 0.03 * np.sin(3 * x + phase)
    floor = top + 0.55
    mound = (kinds == "choroidal") * 0.3 * np.exp(-(((x - 0.1 * np.sin(phase)) / 0.3) ** 2))
    bumps = (kinds == "drusen") * 0.09 * np.clip(np.sin(14 * x + phase), 0, None)
    retina = _inside(np.abs(y - (top + floor) / 2) / 0.28, 0.2)
    band = np.exp(-(((y - floor + mound + bumps) / 0.06) ** 2)) + np.exp(-(((y - top) / 0.05) ** 2))
    under = _inside(np.abs(y - floor + mound / 2) / (0.02 + mound / 2)) * (mound > 0.05)
    cysts = sum(
        _inside(np.hypot((x - c - 0.1 * np.sin(phase + c)) / 0.16, (y - (top + floor) / 2) / 0.14))
        for c in (-0.4, 0.0, 0.4)
    )
    image = 0.1 + 0.35 * retina + 0.5 * band + 0.35 * under - 0.35 * cysts * (kinds == "diabetic")
    return (image * (1 + 0.18 * _noise(rng, n, side, 2)))[..., None]


def _fundus(labels, names, side, rng):
    """An orange disc with the bright optic disc; spots of blood grow in number and size with the grade."""
    y, x = _grid(side)
    t = _severity(labels, names)
    disc = _inside(np.hypot(x, y) / 0.95, 0.1)
    nerve = _inside(np.hypot(x - 0.5, y - _uniform(rng, -0.1, 0.1, labels)) / 0.18, 0.4)
    vessels = sum(np.exp(-(((y - s * 0.5 * np.sqrt(np.clip(0.5 - x, 0, None))) / 0.05) ** 2)) for s in (-1, 1))
    spots = np.zeros((len(labels), side, side))
    for i in range(12):
        cy, cx = _uniform(rng, -0.6, 0.6, labels), _uniform(rng, -0.6, 0.4, labels)
        spots += (12 * t > i) * _inside(np.hypot(x - cx, y - cy) / (0.08 + 0.08 * t), 0.5)
    red = 0.75 + 0.2 * nerve - 0.2 * vessels - 0.45 * np.clip(spots, 0, 1)
    green = 0.4 + 0.4 * nerve - 0.2 * vessels - 0.32 * np.clip(spots, 0, 1)
    image = np.stack([red, green, 0.18 + 0.3 * nerve + 0 * red], axis=-1) * disc[..., None]
    return image * (1 + 0.05 * _noise(rng, len(labels), side, 3)[..., None])


def _cells(labels, names, side, rng):
    """A round cell whose size and number of nuclear lobes tell the class."""
    y, x = _grid(side)
    t = _severity(labels, names)
    lobes = 1 + labels[:, None, None] % 4
    cell = _inside(np.hypot(x, y) / (0.5 + 0.3 * t + _uniform(rng, -0.04, 0.04, labels)), 0.2)
    wave = 0.35 * np.cos(lobes * np.arctan2(y, x) + _uniform(rng, -0.4, 0.4, labels))
    nucleus = _inside(np.hypot(x, y) / ((0.25 + 0.15 * t) * (1 + wave)), 0.3)
    red, green = 0.9 - 0.1 * cell - 0.45 * nucleus, 0.8 - 0.2 * cell - 0.5 * nucleus
    image = np.stack([red, green, 0.85 - 0.05 * cell - 0.15 * nucleus], axis=-1)
    return image + 0.03 * rng.standard_normal(image.shape)


def _histology(labels, names, side, rng):
    """Pink and violet fibres whose direction, width and tint tell the class."""
    y, x = _grid(side)
    part = (labels / len(names))[:, None, None]
    angle = np.pi * part + _uniform(rng, -0.1, 0.1, labels)
    along = np.cos(angle) * x + np.sin(angle) * y
    fibres = 0.5 + 0.5 * np.sin((8 + 10 * part) * along + 0.6 * _noise(rng, len(labels), side, 5))
    tint = 0.25 + 0.4 * part
    image = np.stack([0.9 - tint * fibres, 0.7 - 0.5 * fibres, 0.85 - 0.3 * tint * fibres], axis=-1)
    return image + 0.03 * rng.standard_normal(image.shape)


def _ct(labels, names, side, rng):
    """An organ in a body: where it lies and how large it is tell the class."""
    y, x = _grid(side)
    turn = 6.28 * (labels / len(names))[:, None, None]
    cy = 0.4 * np.sin(turn) + _uniform(rng, -0.06, 0.06, labels)
    cx = 0.5 * np.cos(turn) + _uniform(rng, -0.06, 0.06, labels)
    body = _inside(np.hypot(x / 0.95, y / 0.85))
    organ = _inside(np.hypot(x - cx, 1.3 * (y - cy)) / (0.22 + 0.12 * _severity(labels, names)))
    image = body * (0.42 + 0.35 * organ + 0.06 * _noise(rng, len(labels), side, 3))
    return image[..., None]


# Seven strokes of a digit as on a pocket calculator: top, upper left, upper right, middle, lower left,
# lower right, bottom, each from one point to another (x, y).
_STROKES = np.array([
    [-1, -2, 1, -2], [-1, -2, -1, 0], [1, -2, 1, 0], [-1, 0, 1, 0],
    [-1, 0, -1, 2], [1, 0, 1, 2], [-1, 2, 1, 2],
]) * 0.35  # fmt: skip
_LIT = [
    "1110111",
    "0010010",
    "1011101",
    "1011011",
    "0111010",
    "1101011",
    "1101111",
    "1010010",
    "1111111",
    "1111011",
]


def _digits(labels, names, side, rng):
    """Digits of seven strokes, shifted and slanted a little."""
    y, x = _grid(side)
    y = y - _uniform(rng, -0.1, 0.1, labels)
    x = x - _uniform(rng, -0.15, 0.15, labels) + _uniform(rng, -0.2, 0.2, labels) * y
    lit = np.array([[int(c) for c in row] for row in _LIT])[labels]
    image = np.zeros((len(labels), side, side))
    for stroke, (x0, y0, x1, y1) in enumerate(_STROKES):
        t = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2), 0, 1)
        far = np.hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0))
        image = np.maximum(image, lit[:, stroke, None, None] * np.exp(-((far / 0.11) ** 2)))
    return image[..., None]


LOOKS: dict[str, Callable[..., np.ndarray]] = {
    "cells": _cells,
    "ct": _ct,
    "dermatoscopy": _dermatoscopy,
    "digits": _digits,
    "fundus": _fundus,
    "histology": _histology,
    "mammogram": _mammogram,
    "oct": _oct,
    "ultrasound": _ultrasound,
    "xray": _xray,
}
