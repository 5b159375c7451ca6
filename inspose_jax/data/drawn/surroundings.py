"""What surrounds drawn people: a background, occluders, and the light and noise of a camera."""

import cv2
import numpy as np

from inspose_jax.config import Scene
from inspose_jax.data.drawn.canvas import CIRCLE, FINER, NOBODY, Canvas, cloth_colour


def paint_background(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """A wall and a ground with soft texture and objects on them: u8[FINER * size, FINER * size, 3]."""
    size = scene.size * FINER
    wall, ground = (rng.uniform(55, 205) + rng.normal(0, 22, 3) for _ in range(2))
    horizon = int(rng.uniform(0.3, 0.85) * 16)
    coarse = np.where(np.arange(16)[:, None, None] < horizon, wall, ground) + rng.normal(0, 12, (16, 16, 3))
    image = cv2.resize(np.clip(coarse, 0, 255).astype(np.uint8), (size, size), interpolation=cv2.INTER_LINEAR)
    fine = cv2.resize(rng.integers(0, 28, (64, 64), np.uint8), (size, size), interpolation=cv2.INTER_LINEAR)
    image = cv2.add(image, cv2.merge([fine] * 3))
    if rng.random() < 0.4 * scene.clutter:  # planks, bricks or tiles
        step = int(rng.uniform(0.06, 0.2) * size)
        shade = rng.uniform(0.75, 1.15)
        for start in range(int(rng.integers(step)), size, step):
            if rng.random() < 0.85:
                line = image[:, start : start + max(2, size // 128)]
                line[:] = np.minimum(line * shade, 255)
    canvas = Canvas(image)
    for _ in range(rng.poisson(7 * scene.clutter)):
        centre, half = rng.uniform(0, 1, 2) * scene.size, rng.uniform(0.02, 0.16, 2) * scene.size
        colour, kind = cloth_colour(rng) * 0.75 + 0.25 * wall, rng.integers(4)
        if kind == 0:
            canvas.fill(centre + CIRCLE * half, colour, edge=0.7)
        elif kind == 1:
            ends = np.stack([centre - 2 * half, centre + 2 * half * rng.choice([-1, 1], 2)])
            canvas.stroke(ends, colour, rng.uniform(0.01, 0.05) * scene.size)
        elif kind == 2:
            canvas.fill(centre + rng.normal(0, 1, (3, 2)) * half, colour)
        else:
            canvas.fill(centre + np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half, colour, edge=0.7)
    return canvas.image


def paint_occluder(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint a box, a pole or a bush in front of the people painted so far."""
    size = canvas.size
    centre, half = rng.uniform((0, 0.3), (1, 1)) * size, rng.uniform(0.04, 0.13, 2) * size
    colour, kind = cloth_colour(rng), rng.integers(3)
    if kind == 0:
        angle = rng.normal(0, 0.2)
        turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
        box = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        canvas.fill(centre + (box * half) @ turn, colour, NOBODY, edge=0.6)
        canvas.fill(centre + (box * half * 0.7) @ turn, colour * 1.15)
    elif kind == 1:
        top, wide = rng.uniform(-0.1, 0.5) * size, 0.35 * half[0]
        left, right = centre[0] - wide, centre[0] + wide
        pole = np.array([(left, top), (right, top), (right, 2 * size), (left, 2 * size)])
        canvas.fill(pole, colour, NOBODY, edge=0.6)
    else:
        green = np.array([60, 110, 50]) * rng.uniform(0.5, 1.5)
        for _ in range(5):
            leaf = centre + rng.normal(0, 0.5, 2) * half + CIRCLE * half * rng.uniform(0.4, 0.8)
            canvas.fill(leaf, green * rng.uniform(0.7, 1.3), NOBODY, edge=0.7)


def photograph(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Shrink the image to its final size and add a camera's uneven light, blur and noise."""
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    light = rng.uniform(0.8, 1.15) * rng.uniform(0.85, 1.12, (3, 3)).astype(np.float32)
    light = cv2.resize(light.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    noise = rng.uniform(1, 6) * rng.standard_normal((size, size), np.float32)
    image = image * light[..., None] + noise[..., None]
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.75) * size / 128)
    return np.clip(image, 0, 255).astype(np.uint8)
