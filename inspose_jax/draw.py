"""Draw people on images, in the colours of Figure 2 (nose magenta, left blue, right orange), and contact sheets.

Labels are drawn with a colour for each joint, so that joints in a wrong order are seen even without limbs.
"""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Sample, is_target

Colour = tuple[int, int, int]  # RGB
MAGENTA, BLUE, ORANGE, LIMB = (230, 0, 200), (40, 90, 255), (255, 140, 0), (90, 220, 90)
PERSON_BOX, UNLABELLED_BOX, CROWD_BOX = (255, 255, 255), (255, 210, 0), (240, 50, 50)
INK = (28, 39, 51)
LINE = 22  # pixels of the height of a line of text
LABELS_LEGEND = (
    "Dots: visible joints; rings: hidden ones. White box: a person to learn from; yellow: a person without "
    "joints; red, hatched: a crowd. The last two are not learnt from."
)


def joint_colours(skeleton: Skeleton) -> list[Colour]:
    """The colour of every joint, chosen by the side that its name begins with."""
    sides = {"left": BLUE, "right": ORANGE}
    return [sides.get(name.split("_")[0], MAGENTA) for name in skeleton.keypoint_names]


def label_colours(skeleton: Skeleton) -> list[Colour]:
    """A colour of its own for every joint: around the circle of hues, neighbours also differing in brightness."""
    tints = ((1.0, 1.0), (0.45, 1.0), (1.0, 0.6))  # saturation, value
    number = skeleton.num_keypoints
    colours = [colorsys.hsv_to_rgb(k / number, *tints[k % len(tints)]) for k in range(number)]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in colours]


def draw_people(
    image: UInt8[np.ndarray, "H W 3"],
    keypoints: Float[np.ndarray, "N K 2"],
    is_drawn: Bool[np.ndarray, "N K"],
    skeleton: Skeleton,
    is_hidden: Bool[np.ndarray, "N K"] | None = None,
    colours: Sequence[Colour] = (),
) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of `image` with limbs and joints; `keypoints` are in pixels of `image`.

    A limb is drawn if both its joints are.  Hidden joints, where `is_hidden` is given, are rings with a dark centre.
    The colours of the joints are those of `joint_colours` unless others are given.
    """
    canvas = np.ascontiguousarray(image).copy()
    thick = thickness(image)
    radius = round((1.2 * thick + 0.8) * 16)
    for n, (person, drawn) in enumerate(zip(sixteenths(keypoints), is_drawn, strict=True)):
        for a, b in skeleton.limbs:
            if drawn[a] and drawn[b]:
                cv2.line(canvas, person[a].tolist(), person[b].tolist(), LIMB, thick, cv2.LINE_AA, shift=4)
        for k, colour in enumerate(colours or joint_colours(skeleton)):
            if drawn[k]:
                hidden = is_hidden is not None and is_hidden[n, k]
                cv2.circle(canvas, person[k].tolist(), radius, INK if hidden else colour, -1, cv2.LINE_AA, shift=4)
                if hidden:
                    cv2.circle(canvas, person[k].tolist(), radius, colour, thick, cv2.LINE_AA, shift=4)
    return canvas


def draw_labels(sample: Sample, skeleton: Skeleton, side: int) -> UInt8[np.ndarray, "H W 3"]:
    """Draw all labels of an image, resized so that its longer side has `side` pixels; `LABELS_LEGEND` explains them."""
    canvas, ratio = scaled(sample.image, side)
    is_labelled = sample.keypoints[..., 2] > 0
    boxes = sample.boxes_xyxy * np.tile(ratio, 2)
    targets = is_target(sample.keypoints, sample.is_crowd)
    for box, crowd, target in zip(boxes, sample.is_crowd, targets, strict=True):
        colour = CROWD_BOX if crowd else PERSON_BOX if target else UNLABELLED_BOX
        canvas = draw_box(canvas, box, colour, is_hatched=bool(crowd))
    keypoints = sample.keypoints[..., :2] * ratio
    is_hidden = sample.keypoints[..., 2] == 1
    return draw_people(canvas, keypoints, is_labelled, skeleton, is_hidden, label_colours(skeleton))


def describe_labels(sample: Sample) -> str:
    """`image 7: 3 people, 1 without joints, 1 crowd`."""
    targets, crowds = int(is_target(sample.keypoints, sample.is_crowd).sum()), int(sample.is_crowd.sum())
    text = f"image {sample.image_id}: {targets} {'person' if targets == 1 else 'people'}"
    for number, what in ((len(sample.area) - targets - crowds, "without joints"), (crowds, "crowd")):
        text += f", {number} {what}" if number else ""
    return text


def draw_box(
    image: UInt8[np.ndarray, "H W 3"], box_xyxy: Float[np.ndarray, " 4"], colour: Colour, is_hatched: bool
) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of `image` with a translucent rectangle, hatched if `is_hatched`."""
    painted = np.ascontiguousarray(image).copy()
    start, end = sixteenths(box_xyxy.reshape(2, 2)).tolist()
    cv2.rectangle(painted, start, end, colour, thickness(image), cv2.LINE_AA, shift=4)
    if is_hatched:
        x0, y0, x1, y1 = np.clip(box_xyxy.round(), 0, [*image.shape[1::-1]] * 2).astype(int).tolist()
        y, x = np.mgrid[y0:y1, x0:x1]
        painted[y0:y1, x0:x1][(x + y) % 12 < 2] = colour
    return cv2.addWeighted(painted, 0.75, image, 0.25, 0)


def sixteenths(points: Float[np.ndarray, "*rest 2"]) -> np.ndarray:
    """Points in sixteenths of a pixel, as OpenCV's `shift=4` expects; OpenCV's origin is the first pixel's centre."""
    return np.clip((points - 0.5) * 16, -(2**20), 2**20).round().astype(int)


def thickness(image: UInt8[np.ndarray, "H W 3"]) -> int:
    """A line width, in pixels, that suits the size of the image."""
    return max(1, round(min(image.shape[:2]) / 200))


def scaled(
    image: UInt8[np.ndarray, "H W 3"], side: int
) -> tuple[UInt8[np.ndarray, "H2 W2 3"], Float32[np.ndarray, " 2"]]:
    """The image resized to a longer side of `side` pixels, and the ratios new / old of its width and height.

    The ratios convert coordinates in the original image to the resized one.
    """
    height, width = image.shape[:2]
    factor = side / max(height, width)
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST  # nearest keeps the pixels of a small image visible
    ratio = np.array([size[0] / width, size[1] / height], np.float32)
    return cv2.resize(image, size, interpolation=how), ratio


def captioned(image: UInt8[np.ndarray, "H W 3"], above: str, below: str = "") -> UInt8[np.ndarray, "H2 W 3"]:
    """The image with a line of text above it, and perhaps one below; what is too long is cut off."""
    width = image.shape[1]
    return np.concatenate([line_of_text(above, width), image, *([line_of_text(below, width)] if below else [])])


def line_of_text(text: str, width: int) -> UInt8[np.ndarray, "22 width 3"]:
    """A line of text on white."""
    strip = Image.new("RGB", (width, LINE), "white")
    ImageDraw.Draw(strip).text((1, 3), printable(text), INK, ImageFont.load_default(13))
    return np.asarray(strip)


def printable(text: str) -> str:
    """The text, in which what is no valid text, as in some names of files, is written as escapes."""
    return text.encode(errors="backslashreplace").decode()


def legend(names: Sequence[str], colours: Sequence[Colour], width: int) -> UInt8[np.ndarray, "H width 3"]:
    """Each name beside a dot of its colour, in lines that fill the width, on white."""
    font = ImageFont.load_default(13)
    needed = [30 + round(font.getlength(printable(name))) for name in names]
    places, x, y = [], 0, 0
    for extent in needed:
        x, y = (0, y + LINE) if x and x + extent > width else (x, y)
        places.append((x, y))
        x += extent
    strip = Image.new("RGB", (width, y + LINE), "white")
    pen = ImageDraw.Draw(strip)
    for name, colour, (x, y) in zip(names, colours, places, strict=True):
        pen.ellipse((x + 2, y + 6, x + 12, y + 16), colour)
        pen.text((x + 17, y + 3), printable(name), INK, font)
    return np.asarray(strip)


def contact_sheet(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]], columns: int, gap: int = 4
) -> UInt8[np.ndarray, "H W 3"]:
    """The images row by row on white, each in a cell of the size of the largest."""
    height = max(image.shape[0] for image in images) + gap
    width = max(image.shape[1] for image in images) + gap
    rows = -(-len(images) // columns)
    sheet = np.full((rows * height + gap, columns * width + gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = i // columns * height + gap, i % columns * width + gap
        sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
    return sheet
