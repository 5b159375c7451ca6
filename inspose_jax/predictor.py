"""From pictures to people: the one inference path, which `predict`, `eval`, the demo and Python code all take.

model = inspose_jax.load("runs/a")
people = model("photo.jpg")
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from jaxtyping import Float32, Int32, UInt8
from PIL import Image

from inspose_jax import checkpoints, draw
from inspose_jax.config import Config
from inspose_jax.data import buckets, transforms
from inspose_jax.data.image_files import read_image
from inspose_jax.decode import decode
from inspose_jax.network import kp_net
from inspose_jax.network.inspose import InsPose
from inspose_jax.skeletons import SKELETONS, Skeleton
from inspose_jax.structures import Batch, Outputs, Poses, Sample

BATCH = 8  # pictures of a list that go through the network at once
DRAWN = 0.05  # joints of lower score are not painted; their coordinates stay


@dataclass(frozen=True)
class People:
    """Everybody found in one picture, best first; N people, K joints; numpy float32, pixels of the original picture."""

    keypoints: Float32[np.ndarray, "N K 2"]
    keypoint_scores: Float32[np.ndarray, "N K"]  # softmax peak of each joint's map
    scores: Float32[np.ndarray, " N"]  # what people are ranked by
    class_scores: Float32[np.ndarray, " N"]
    image: UInt8[np.ndarray, "H W 3"]  # RGB
    skeleton: Skeleton
    joint_pixel_offset: float  # what a COCO file's joints lie below ours
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the picture."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def boxes(self) -> Float32[np.ndarray, "N 4"]:
        """x0 y0 x1 y1: the smallest rectangle around each person's joints."""
        return np.concatenate([self.keypoints.min(1), self.keypoints.max(1)], -1)

    def above(self, threshold: float) -> "People":
        """Those with a score of at least `threshold`."""
        kept = self.scores >= threshold
        fields = ("keypoints", "keypoint_scores", "scores", "class_scores")
        return replace(self, **{name: getattr(self, name)[kept] for name in fields})

    def plot(self) -> UInt8[np.ndarray, "H W 3"]:
        """The picture with everybody painted on it, RGB."""
        return draw.draw_people(self.image, self.keypoints, self.keypoint_scores >= DRAWN, self.skeleton)

    def save(self, path: str | Path) -> None:
        """Write `plot()` to a file, whose suffix is its format; OSError or ValueError where that does not work."""
        Image.fromarray(self.plot()).save(path)

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """COCO results: a dict a person, joints as x, y, score in COCO's pixel indices, and their box x, y, w, h."""
        offset = np.float32(self.joint_pixel_offset)
        triples = np.concatenate([self.keypoints - offset, self.keypoint_scores[..., None]], -1)
        return [
            {
                "image_id": int(image_id),
                "category_id": 1,
                "keypoints": triples[n].astype(float).ravel().tolist(),
                "score": float(self.scores[n]),
                "bbox": [*box[:2].astype(float).tolist(), *(box[2:] - box[:2]).astype(float).tolist()],
            }
            for n, box in enumerate(self.boxes)
        ]


class Predictor:
    """A trained model that finds people; made by `load`, or from a config and its variables."""

    def __init__(self, config: Config, variables: Any):
        self.config, self.variables = config, jax.device_put(variables)
        model = config.model
        self.skeleton = SKELETONS[model.skeleton]
        self.network = InsPose(model)
        self.kp_net = kp_net.plain(model.kp_net, self.skeleton.num_keypoints, 2**model.map_level)
        self.poses = jax.jit(self.poses_of)

    def outputs_of(self, variables: Any, image: jax.Array, size: jax.Array) -> Outputs:
        """u8[B,H,W,3] padded pictures and their sizes -> what the network says about them."""
        return cast(Outputs, self.network.apply(variables, image, size))

    def poses_of(self, variables: Any, image: jax.Array, size: jax.Array) -> Poses:
        """u8[B,H,W,3] padded pictures and their sizes -> `Poses` in pixels of the padded pictures."""
        outputs = self.outputs_of(variables, image, size)
        return decode(outputs, size, (image.shape[1], image.shape[2]), self.config.model, self.kp_net)

    def __call__(self, images: Any, threshold: float = 0.3) -> Any:
        """One picture -> `People`, a list of pictures -> a list of `People`.

        A picture is a path, a u8[H,W,3] RGB array or a PIL image; files are turned as their EXIF orientation says.
        ValueError or FileNotFoundError say what is wrong with one.
        """
        if not isinstance(images, list | tuple):
            return self([images], threshold)[0]
        pictures = [as_array(image) for image in images]
        sizes = [self.resized(picture.shape[0], picture.shape[1]) for picture in pictures]
        which = self.shape_indices(sizes)
        people: list[People | None] = [None] * len(pictures)
        for index in set(which.tolist()):
            (rows,) = np.nonzero(which == index)
            number = BATCH if len(rows) > 1 else 1  # filled with blank ones: at most two programs a shape
            for first in range(0, len(rows), number):
                chunk = rows[first : first + number].tolist()
                batch = self.batch([pictures[i] for i in chunk], [sizes[i] for i in chunk], int(index), number)
                for i, found in zip(chunk, self.find(batch, [pictures[i] for i in chunk]), strict=True):
                    path = Path(images[i]) if isinstance(images[i], str | Path) else None
                    people[i] = replace(found, path=path).above(threshold)
        return people

    def shape_indices(self, sizes: list[tuple[int, int]]) -> Int32[np.ndarray, " n"]:
        """Which of data.shapes each resized (height, width) is padded to."""
        return buckets.choose_shapes(np.array(sizes, np.int32).reshape(-1, 2), self.config.data.shapes)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) at which a picture is looked at: the test size, or smaller where no shape holds that."""
        data = self.config.data
        size = transforms.resized_size(height, width, data.test_short_side, data.long_side)
        if any(size[0] <= shape[0] and size[1] <= shape[1] for shape in data.shapes):
            return size
        factor = max(min(shape[0] / height, shape[1] / width) for shape in data.shapes)
        return max(int(height * factor), 1), max(int(width * factor), 1)

    def batch(self, pictures: list, sizes: list[tuple[int, int]], shape: int, number: int) -> Batch:
        """Pictures at their sizes, padded to data.shapes[shape], with blank ones up to `number`."""
        data, model = self.config.data, self.config.model
        samples: list[Sample | None] = [
            transforms.resize(without_labels(picture, self.skeleton), size)
            for picture, size in zip(pictures, sizes, strict=True)
        ]
        blank = [None] * (number - len(samples))
        originals = [(picture.shape[0], picture.shape[1]) for picture in pictures] + [(1, 1)] * len(blank)
        return buckets.pad([*samples, *blank], data.shapes[shape], originals, model, data.num_ignore)

    def find(self, batch: Batch, originals: Sequence[np.ndarray]) -> list[People]:
        """Everybody in the first pictures of a padded batch, in pixels of their `originals`; no threshold."""
        poses = jax.device_get(self.poses(self.variables, batch.image, batch.size))
        people = []
        for b, original in enumerate(originals):
            kept = poses.is_person[b]
            keypoints = poses.keypoints[b][kept] / batch.scale[b]
            scores = poses.keypoint_scores[b][kept], poses.scores[b][kept], poses.class_scores[b][kept]
            offset = self.config.data.joint_pixel_offset
            people.append(People(keypoints.astype(np.float32), *scores, original, self.skeleton, offset))
        return people


def check_fit(config: Config, variables: Any) -> None:
    """ValueError where variables are not those of the config's network: other parameters, or other shapes."""
    image, size = np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 2), np.int32)
    network = InsPose(config.model)
    wanted = jax.eval_shape(lambda: network.init(jax.random.key(0), image, size, train=True))
    shapes = [
        {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (wanted, variables)
    ]
    differing = sorted(name for name in {**shapes[0], **shapes[1]} if shapes[0].get(name) != shapes[1].get(name))
    if differing:
        raise ValueError(
            f"the checkpoint does not fit the config: {differing[0]} and {len(differing) - 1} more differ; leave out "
            f"the --config fields that change the network"
        )


def without_labels(image: UInt8[np.ndarray, "H W 3"], skeleton: Skeleton) -> Sample:
    """A picture about which nobody is known."""
    people = np.zeros((0, skeleton.num_keypoints, 3), np.float32)
    return Sample(image, people, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, bool), image_id=0)


def as_array(image: Any) -> UInt8[np.ndarray, "H W 3"]:
    """Any accepted picture as RGB bytes."""
    if isinstance(image, str | Path):
        return read_image(Path(image), follow_exif=True)
    if isinstance(image, Image.Image):
        if image.mode.startswith("I;16"):  # PIL would cut 16 bits at 255; a file's are scaled, so these are too
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return np.asarray(image.convert("RGB"))
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape[2:] == (3,) and image.size:
        return image
    what = f"an array of {image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise ValueError(f"a picture is a path, a PIL image or an RGB array u8[height, width, 3]; this is {what}")


def load(path: str | Path) -> Predictor:
    """A predictor from a run's workdir or a checkpoint's folder; errors as `checkpoints.load`."""
    loaded = checkpoints.load(path)
    return Predictor(loaded.config, loaded.variables)
