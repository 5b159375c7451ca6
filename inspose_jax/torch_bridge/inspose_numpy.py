"""InsPose with numpy, in one file that needs nothing of inspose-jax: what comes before the network's graph, and after.

    model = load("folder")  # with model.onnx and config.json; needs onnxruntime
    for people in model.detect([image]):  # u8[H,W,3] RGB, numpy arrays
        people["keypoints"]  # f32[N,K,2] (x, y) in pixels of the image, best person first

Copy the file to wherever it is needed.  Another runtime takes the place of onnxruntime as a function that runs the
graph: `InsPose(run, config)`.  The graph's input is named image, f32[1,3,H,W]; its outputs are

    logits    f32[1,1,L]   of "is a person", at every location
    theta     f32[1,P,L]   the parameters of the KP-Net that each location generates
    features  f32[1,C,h,w] F_kp, which all KP-Nets read
    offsets   f32[1,2K,h,w] of joints in cells of their map; channel 2k is x, 2k+1 is y of joint k; the paper's model
                           may lack them, the released model has them at half the stride of F_kp
    sides     f32[1,4,L]   paper's model with a box head only: pixels to the left, top, right, bottom of a person's box
    coarse    f32[1,2K,L]  released model only: from a location to its person's joints, in cells of its level

The arithmetic, names and order of the functions are those of inspose_torch.py.  Pixels are continuous: pixel i spans
[i, i + 1).  The released model was trained on joints that are indices of pixels.

Axes: H W the padded image, h w a map, L locations of all levels, finest level first and row by row, N people, K joints,
P parameters of a KP-Net.  Sizes are (height, width); points are (x, y), boxes x0 y0 x1 y1.
"""

import json
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray
MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # ImageNet's, RGB
STD = np.array([58.395, 57.12, 57.375], np.float32)
PEOPLE_AT_ONCE = 16  # whose keypoint maps are in memory together
# The cubic kernel with a = -0.75, as in PyTorch, at 1.75, 0.75, 0.25 and 1.25 cells from its centre.
CUBIC = np.array([-0.03515625, 0.26171875, 0.87890625, -0.10546875], np.float32)


class InsPose:
    """A network's graph, as a function from its input to its outputs by name, and the `config.json` that it belongs to.

    The method in the config is "inspose", the paper's, or "released".
    """

    def __init__(self, run: Callable[[Array], dict[str, Array]], config: dict):
        self.run, self.config = run, config
        model, network, kp_net = config["model"], config["model"]["network"], config["model"]["kp_net"]
        self.is_released: bool = config["method"] == "released"
        self.levels: list[int] = list(network.get("levels", (3, 4, 5, 6, 7)))
        # The maps' sides have `map_ratio` times as many cells as those of the level's map.
        self.map_stride = round(2 ** network.get("map_level", 3) / network.get("map_ratio", 1.0))
        self.keypoint_names: list[str] = model["skeleton"]["keypoint_names"]
        hidden = [kp_net["width"]] * (kp_net["depth"] - 1)
        self.kp_net_sizes = list(pairwise([kp_net["feature_channels"] + 2, *hidden, len(self.keypoint_names)]))

    def detect(self, images: Any, threshold: float = 0.3) -> list[dict[str, Array]]:
        """Find the people in an image u8[H,W,3] RGB or a list of them: one dict for each image, best person first.

        keypoints f32[N,K,2] (x, y) in pixels of the image, keypoint_scores f32[N,K] (softmax peaks of the keypoint
        maps), scores f32[N], of at least `threshold`, boxes f32[N,4] (those of a box head, else around the joints; in
        the released model around its coarse joints) and locations i64[N,3], which generated the people: index of the
        level, row, column.
        """
        decode, found = released_people if self.is_released else paper_people, []
        for image in images if isinstance(images, list | tuple) else [images]:
            padded, size, scale = self.preprocess(image)
            people = decode(self, self.run(padded), padded.shape[2:], size, scale)
            is_kept = people["scores"] >= threshold
            found.append({name: values[is_kept] for name, values in people.items()})
        return found

    def preprocess(self, image: Array) -> tuple[Array, tuple[int, int], Array]:
        """u8[h,w,3] -> f32[1,3,H,W], the size of its part without padding, and new / old sides in x and y f32[2]."""
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"an image is RGB u8[height, width, 3]; this is {image.dtype} {image.shape}")
        height, width = image.shape[:2]
        size, shape = test_size(self.config["data"], height, width)
        padded = np.zeros((1, 3, *shape), np.float32)
        x = (resize(image, size).astype(np.float32) - MEAN) / STD
        padded[0, :, : size[0], : size[1]] = x.transpose(2, 0, 1)
        return padded, size, np.array([size[1] / width, size[0] / height], np.float32)

    def places(self, where: Array) -> tuple[Array, Array]:
        """Locations i64[N,3] -> their (x, y) i64[N,2] in pixels of the padded image, and strides i64[N,1]."""
        strides = 2 ** np.array(self.levels)[where[:, :1]]
        return where[:, [2, 1]] * strides + strides // 2, strides


def load(folder: str | Path) -> InsPose:
    """The model whose graph and config are in `folder`, run by onnxruntime on the best device that it has."""
    import onnxruntime  # pyright: ignore[reportMissingImports]

    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    providers = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=providers)
    names = [output.name for output in session.get_outputs()]
    return InsPose(lambda image: dict(zip(names, session.run(names, {"image": image}), strict=True)), config)


# --- images -----------------------------------------------------------------------------------------------------------


def test_size(data: dict, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The size that an image is resized to, and the one that it is then padded to at the right and bottom.

    That is the smallest of the config's shapes that holds it, or with its "own" padding the next multiples of 32.
    """
    factor = min(data["test_short_side"] / min(height, width), data["long_side"] / max(height, width))
    size = max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)
    if data["test_padding"] == "own":
        return size, (-(-size[0] // 32) * 32, -(-size[1] // 32) * 32)
    if not any(size[0] <= h and size[1] <= w for h, w in data["shapes"]):
        factor = max(min(h / height, w / width) for h, w in data["shapes"])
        size = max(int(height * factor), 1), max(int(width * factor), 1)
    return size, min(((h, w) for h, w in data["shapes"] if size[0] <= h and size[1] <= w), key=math.prod)


def resize(image: Array, size: tuple[int, int]) -> Array:
    """u8[h,w,3] -> u8[H,W,3] with the bytes of OpenCV's bilinear interpolation, which computes in whole numbers."""
    height, width = image.shape[:2]
    if size == (height, width):
        return image
    x = image.astype(np.int32)
    if (height, width) == (2 * size[0], 2 * size[1]):  # OpenCV averages four pixels then
        return ((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2] + 2) >> 2).astype(np.uint8)
    left, right, left_weight, right_weight = neighbours(width, size[1])
    x = (x[:, left] * left_weight[:, None] + x[:, right] * right_weight[:, None]) >> 4
    top, bottom, top_weight, bottom_weight = neighbours(height, size[0])
    x = ((x[top] * top_weight[:, None, None]) >> 16) + ((x[bottom] * bottom_weight[:, None, None]) >> 16)
    return ((x + 2) >> 2).astype(np.uint8)


def neighbours(old: int, new: int) -> tuple[Array, ...]:
    """Between which two of an axis's `old` pixels each of `new` ones lies: indices i64[n] and weights i32[n] / 2048."""
    place = ((np.arange(new) + 0.5) * (1 / (new / old)) - 0.5).astype(np.float32)  # rounds as OpenCV does
    first, part = np.floor(place).astype(np.int64), place - np.floor(place)
    indices = [np.clip(first + i, 0, old - 1) for i in (0, 1)]
    return *indices, *(np.rint(weight * 2048).astype(np.int32) for weight in (1 - part, part))


# --- people -----------------------------------------------------------------------------------------------------------


def paper_people(
    model: InsPose, outputs: dict[str, Array], shape: tuple[int, int], size: tuple[int, int], scale: Array
) -> dict[str, Array]:
    """The people in one image (Sec. 3.4) of the padded `shape`; `size` and `scale` as in `preprocess`."""
    rules, stride = model.config["model"]["decoding"], model.map_stride
    where = np.concatenate(locations_of_levels(model.levels, shape))
    is_inside = (model.places(where)[0] < [size[1], size[0]]).all(1)
    scores = sigmoid(outputs["logits"][0, 0]) * is_inside
    best = np.argsort(-scores, kind="stable")[: rules["num_candidates"]]
    best = best[scores[best] > rules["score_threshold"]]
    scores, where, theta = scores[best], where[best], outputs["theta"][0][:, best].T

    real = -(-size[0] // stride), -(-size[1] // stride)  # cells in the padding, right and below, take no part
    peaks = [peaks_of(maps) for maps in keypoint_maps(model, outputs["features"], theta, where, real)]
    cells, keypoint_scores = (np.concatenate(parts) for parts in zip(*peaks, strict=True))
    offsets = np.float32(0.5) if "offsets" not in outputs else read_offsets(outputs["offsets"][0], cells)
    keypoints = (cells.astype(np.float32) + offsets) * stride  # Eq. 3
    if rules["pose_score"] == "class_times_peak":
        scores = scores * keypoint_scores.mean(1)
    order = np.argsort(-scores, kind="stable")
    if "sides" not in outputs:
        extents = rectangles(keypoints)
        extents[:, 2:] = np.maximum(extents[:, 2:], extents[:, :2] + 1)  # a collapsed pose overlaps itself too
    else:
        sides, points = outputs["sides"][0][:, best].T, model.places(where)[0].astype(np.float32)
        extents = np.concatenate([points - sides[:, :2], points + sides[:, 2:]], 1)
    kept, scores = suppressed(model.config["model"], keypoints[order], extents[order], scores[order])
    kept = order[kept]
    keypoints = keypoints[kept] / scale
    boxes = rectangles(keypoints) if "sides" not in outputs else extents[kept] / np.tile(scale, 2)
    named = {"keypoints": keypoints, "keypoint_scores": keypoint_scores[kept], "scores": scores}
    return {**named, "boxes": boxes, "locations": where[kept]}


def suppressed(settings: dict, keypoints: Array, boxes: Array, scores: Array) -> tuple[Array, Array]:
    """Who is left of the people in one image, best first: their indices i64[n], and their scores f32[n].

    `settings` are those of the model in the config.
    """
    rules = settings["decoding"]
    threshold, kind, most = rules["nms_threshold"], rules.get("suppression", "boxes"), rules["num_poses"]
    if kind == "soft":
        return soft_suppress(boxes, scores, threshold, rules["least_score"], most)
    if kind == "oks":
        overlaps = pose_oks(keypoints, settings["skeleton"]["oks_sigmas"])
    else:
        overlaps = overlap(boxes[:, None], boxes)
    kept = np.flatnonzero(suppress(overlaps, threshold))[:most]
    return kept, scores[kept]


def released_people(
    model: InsPose, outputs: dict[str, Array], shape: tuple[int, int], size: tuple[int, int], scale: Array
) -> dict[str, Array]:
    """The people in one image as in the released code: soft-NMS of coarse joints, then KP-Nets for who is left."""
    rules = model.config["model"]["decoding"]
    levels = locations_of_levels(model.levels, shape)
    all_scores, where = sigmoid(outputs["logits"][0, 0]), np.concatenate(levels)
    chosen, first = [], 0
    for level in levels:
        index = np.arange(first, first := first + len(level))
        if len(index) > rules["num_per_level"]:
            index = index[np.argsort(-all_scores[index], kind="stable")[: rules["num_per_level"]]]
        chosen.append(index[all_scores[index] > rules["score_threshold"]])
    index = np.concatenate(chosen)
    centres, strides = model.places(where[index])
    joints = outputs["coarse"][0][:, index].T.reshape(len(index), len(model.keypoint_names), 2)
    joints = joints * strides[:, None].astype(np.float32) + centres[:, None].astype(np.float32)
    boxes = rectangles(np.clip(joints, 0, np.array([size[1], size[0]], np.float32)) / scale)
    limits = rules["nms_threshold"], rules["least_score"], rules["num_poses"]
    kept, scores = soft_suppress(boxes, all_scores[index], *limits)
    boxes, where, theta = boxes[kept], where[index[kept]], outputs["theta"][0][:, index[kept]].T

    peaks = []
    for maps in keypoint_maps(model, outputs["features"], theta, where):
        peaks.append((peaks_of(bicubic_x2(maps))[0], peaks_of(maps)[1]))
    cells, keypoint_scores = (np.concatenate(parts) for parts in zip(*peaks, strict=True))
    offsets = read_offsets(outputs["offsets"][0], cells)
    keypoints = (cells.astype(np.float32) + offsets) * np.float32(model.map_stride / 2) / scale
    named = {"keypoints": keypoints, "keypoint_scores": keypoint_scores, "scores": scores}
    return {**named, "boxes": boxes, "locations": where}


def locations_of_levels(levels: list[int], shape: tuple[int, int]) -> list[Array]:
    """For each level, the index of the level, row and column i64[l,3] of its cells on an image of a padded shape."""
    sizes = [(-(-shape[0] // 2**level), -(-shape[1] // 2**level)) for level in levels]
    cells = [np.indices((1, *size)).reshape(3, -1).T for size in sizes]
    return [one + np.array([number, 0, 0]) for number, one in enumerate(cells)]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), which does not overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def keypoint_maps(model: InsPose, features: Array, theta: Array, where: Array, size: Any = None) -> Iterator[Array]:
    """Logits f[n,K,h,w] of the people with theta f[N,P] from locations i64[N,3], a few at a time.

    `features` f[1,C,h,w] is F_kp; `size` crops it to (height, width).
    """
    height, width = size or features.shape[2:]
    features = features[0, :, :height, :width].reshape(features.shape[1], -1)
    centres, strides = model.places(where)
    scales = (strides * (model.config["model"]["kp_net"]["relative_scale"] / 8)).astype(np.float32)
    cells = [(np.arange(n, dtype=np.float32) + np.float32(0.5)) * model.map_stride for n in (width, height)]
    x, y = ((cells[i] - centres[:, i, None].astype(np.float32)) / scales for i in (0, 1))
    for first in range(0, max(len(where), 1), PEOPLE_AT_ONCE):
        few = slice(first, first + PEOPLE_AT_ONCE)
        relative = np.stack(np.broadcast_arrays(x[few, None, :], y[few, :, None]), 1)
        relative = relative.reshape(len(relative), 2, height * width)
        (weight, bias), *rest = split_theta(theta[few], model.kp_net_sizes)
        maps = weight[:, :, : len(features)] @ features + weight[:, :, len(features) :] @ relative + bias
        for weight, bias in rest:
            maps = weight @ np.maximum(maps, 0) + bias
        yield maps.reshape(*maps.shape[:2], height, width)


def split_theta(theta: Array, sizes: list[tuple[int, int]]) -> list[tuple[Array, Array]]:
    """f[N,P] -> weight f[N,out,in] and bias f[N,out,1] of each 1x1 convolution, which follow each other in theta."""
    layers, start = [], 0
    for inputs, outputs in sizes:
        middle, end = start + inputs * outputs, start + inputs * outputs + outputs
        layers.append((theta[:, start:middle].reshape(len(theta), outputs, inputs), theta[:, middle:end, None]))
        start = end
    return layers


def bicubic_x2(maps: Array) -> Array:
    """f[N,K,h,w] -> f[N,K,2h,2w], from the four nearest rows and columns; the edge repeats beyond itself."""
    return double(double(maps).swapaxes(2, 3)).swapaxes(2, 3)


def double(maps: Array) -> Array:
    """f[N,K,h,w] -> f[N,K,h,2w]: new columns 2i and 2i + 1 lie a quarter of a cell before and after column i."""
    padded = np.pad(maps, [(0, 0), (0, 0), (0, 0), (2, 2)], mode="edge")
    width = maps.shape[3]
    before, after = (
        sum(padded[..., start + i : start + i + width] * weight for i, weight in enumerate(weights))
        for start, weights in ((0, CUBIC), (1, CUBIC[::-1]))
    )
    return np.stack([before, after], -1).reshape(*maps.shape[:3], 2 * width)


def peaks_of(maps: Array) -> tuple[Array, Array]:
    """The cell (x, y) i64[N,K,2] of the first maximum of each map f[N,K,h,w], and the map's softmax there f[N,K]."""
    flat = maps.reshape(*maps.shape[:2], maps.shape[2] * maps.shape[3])
    index = flat.argmax(2)
    cells = np.stack([index % maps.shape[3], index // maps.shape[3]], -1)
    return cells, 1 / np.exp(flat - flat.max(2, keepdims=True)).sum(2)


def read_offsets(offsets: Array, cells: Array) -> Array:
    """The offset (x, y) f[N,K,2] that the map f[2K,h,w] has for each joint at its cell (x, y) i64[N,K,2]."""
    pairs = offsets.reshape(-1, 2, *offsets.shape[1:])
    return pairs[np.arange(cells.shape[1]), :, cells[..., 1], cells[..., 0]]


def rectangles(keypoints: Array) -> Array:
    """The smallest box f[N,4] around each person's joints f[N,K,2]."""
    return np.concatenate([keypoints.min(1), keypoints.max(1)], 1)


def overlap(boxes: Array, others: Array) -> Array:
    """Intersection over union of boxes f[..,4] and others, which are broadcast; NaN where the union is empty."""
    low, high = np.maximum(boxes[..., :2], others[..., :2]), np.minimum(boxes[..., 2:], others[..., 2:])
    shared = np.maximum(high - low, 0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (boxes, others)]
    with np.errstate(invalid="ignore"):
        return shared / (areas[0] + areas[1] - shared)


def pose_oks(keypoints: Array, sigmas: Any) -> Array:
    """COCO's OKS f[N,N] of every pose j f[N,K,2] with pose i, whose area is that of the rectangle around its joints."""
    sides = np.maximum(keypoints.max(1) - keypoints.min(1), 1)
    squares = np.square(keypoints[:, None] - keypoints).sum(-1)
    return np.exp(-squares / (2 * sides.prod(1)[:, None, None] * np.square(2 * np.float32(sigmas)))).mean(-1)


def suppress(overlaps: Array, threshold: float) -> Array:
    """Non-maximum suppression by overlaps f[N,N], best first: bool[N], False where a kept one overlaps too much."""
    is_kept = np.ones(len(overlaps), bool)
    is_too_much = overlaps > threshold
    for i in range(len(overlaps)):
        if is_kept[i]:
            is_kept[i + 1 :] &= ~is_too_much[i, i + 1 :]
    return is_kept


def soft_suppress(boxes: Array, scores: Array, threshold: float, least: float, most: int) -> tuple[Array, Array]:
    """Linear soft-NMS: indices i64[n] of at most `most` boxes f[N,4] as they are picked, and their decayed scores f[n].

    The best box multiplies the scores of those that overlap it by `threshold` or more by 1 - IoU.  Where a score falls
    below `least`, the last box takes the place of that one; the order decides which of equal scores is the first.
    """
    scores, left, picked = scores.copy(), np.arange(len(scores)), []
    while len(left) and len(picked) < most:
        best = scores[left].argmax()
        left[[0, best]] = left[[best, 0]]
        picked.append(left[0])
        shared = overlap(boxes[left[0]], boxes[left[1:]])
        left = left[1:]
        scores[left] = np.where(shared >= threshold, scores[left] * (1 - shared), scores[left])
        order, is_low, i = left.tolist(), scores < least, 0
        while i < len(order):
            if is_low[order[i]]:
                order[i] = order[-1]
                order.pop()
            else:
                i += 1
        left = np.array(order, np.int64)
    kept = np.array(picked, np.int64)
    return kept, scores[kept]
