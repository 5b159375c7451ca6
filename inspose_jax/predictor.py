"""From pictures to people: the one inference path, which `predict`, `eval`, the demo and Python code all take.

model = inspose_jax.load("runs/a")
people = model("photo.jpg")
for people in model.video("dance.mp4"): ...
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Float32, UInt8
from PIL import Image

from inspose_jax import checkpoints, draw, paths, recipes
from inspose_jax.config import Config
from inspose_jax.data import pipeline, video_files
from inspose_jax.data.image_files import read_image
from inspose_jax.data.pil_images import rgb_of
from inspose_jax.data.plan import Plan
from inspose_jax.errors import UserError
from inspose_jax.method import Method
from inspose_jax.method import of as method_of
from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Batch, Poses

BATCH = 8  # pictures of a list that go through the network at once
ROWS = "rows"  # the mesh axis that a batch is divided over
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
    seconds: float | None = None  # of a video's frame, since the beginning

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the picture."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def boxes(self) -> Float32[np.ndarray, "N 4"]:
        """x0 y0 x1 y1: the smallest rectangle around each person's joints."""
        return rectangles(self.keypoints)

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
        Image.fromarray(self.plot()).save(paths.expanded(path))

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """COCO results: a dict a person, joints as x, y, score in COCO's pixel indices, and their box x, y, w, h."""
        return coco_results(self, image_id, self.joint_pixel_offset)

    def to_supervision(self) -> Any:
        """`supervision.KeyPoints`, for that library's annotators, trackers and metrics; ValueError without it.

        Coordinates stay as they are; joints that `plot` leaves out are not `visible`.
        """
        try:
            import supervision  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UserError("to_supervision() needs a package more: pip install supervision") from None
        return supervision.KeyPoints(
            xy=self.keypoints,
            class_id=np.zeros(len(self), int),
            keypoint_confidence=self.keypoint_scores,
            detection_confidence=self.scores,
            visible=self.keypoint_scores >= DRAWN,
            data={"xyxy": self.boxes},
        )


@dataclass(frozen=True)
class PeopleMaps:
    """The people found in one image, N of them, and what made their poses; numpy float32."""

    people: People  # best first, in pixels of the original image
    maps: Float32[np.ndarray, "N K h w"]  # softmax of each joint's map; h w cells of the padded image
    theta: Float32[np.ndarray, "N P"]  # parameters of each person's network
    features: Float32[np.ndarray, "h w C"]  # F_kp
    points: Float32[np.ndarray, "N 2"]  # the locations that generated them, (x, y) in pixels of `image`
    image: UInt8[np.ndarray, "H W 3"]  # RGB as the network saw it: resized, without its padding
    stride: int  # pixels of `image` in a map cell


class Predictor:
    """A trained model that finds people; made by `load`, or from a config and its variables.

    `devices` of this process divide each batch among them; by default the first one works alone.  `method` is what the
    variables belong to, by default the one that the config is for.
    """

    def __init__(self, config: Config, variables: Any, devices: Sequence[Any] = (), method: Method | None = None):
        self.config, self.given_method = config, method
        self.mesh = Mesh(np.asarray(devices), (ROWS,)) if len(devices) > 1 else None
        alone = SingleDeviceSharding(devices[0]) if len(devices) == 1 else None
        self.place = NamedSharding(self.mesh, PartitionSpec()) if self.mesh else alone  # of the variables
        self.take(variables)
        self.skeleton: Skeleton = config.model.skeleton
        self.method = method or method_of(config.model)
        self.poses = jax.jit(self.poses_of)
        self.look = jax.jit(self.look_at)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what it is made from, for process pools and the like; what was compiled is compiled again."""
        return type(self), (self.config, jax.device_get(self.variables), (), self.given_method)

    def take(self, variables: Any) -> None:
        """Work with these variables from now on: they are put on every device, and those before let go of."""
        self.variables = jax.device_put(variables, self.place)

    def look_at(self, variables: Any, image: jax.Array, size: jax.Array) -> tuple[Any, Poses]:
        """u8[B,H,W,3] padded images and their sizes -> the method's outputs and poses, in padded pixels (Sec. 3.4)."""
        outputs, _ = self.method.apply(variables, image, size, train=False)
        return outputs, self.method.decode(outputs, size, (image.shape[1], image.shape[2]))

    def poses_of(self, variables: Any, image: jax.Array, size: jax.Array) -> Poses:
        """The poses of `look_at`, by all devices.

        Each device works on rows of its own; what does not divide, such as a single image, all of them work on alike.
        """

        def rows_of(variables: Any, image: jax.Array, size: jax.Array) -> Poses:
            return self.look_at(variables, image, size)[1]

        if self.mesh is None or image.shape[0] % self.mesh.size:
            return rows_of(variables, image, size)
        whole, rows = PartitionSpec(), PartitionSpec(ROWS)
        # Nothing is added up over devices, which is all that the check of values would look after.
        divided = jax.shard_map(rows_of, mesh=self.mesh, in_specs=(whole, rows, rows), out_specs=rows, check_vma=False)
        return divided(variables, image, size)

    def __call__(self, images: Any, threshold: float = 0.3) -> Any:
        """One picture -> `People`, a list of pictures -> a list of `People`.

        A picture is a path, a u8[H,W,3] RGB array or a PIL image; files are turned as their EXIF orientation says,
        PIL images are taken as they stand.  Transparency is left out, 16 bits are scaled to 8.
        ValueError or FileNotFoundError say what is wrong with one.
        """
        if not isinstance(images, list | tuple):
            return self([images], threshold)[0]
        pictures = [as_array(image) for image in images]
        people: dict[int, People] = {}
        for i, poses in self.find(pipeline.Pictures(pictures, self.skeleton)) if pictures else ():
            people[i] = self.people_of(poses, pictures[i], path_of(images[i])).above(threshold)
        return [people[i] for i in range(len(pictures))]

    def people_of(self, poses: Poses, image: UInt8[np.ndarray, "H W 3"], path: Path | None) -> People:
        """Poses in pixels of an image, with that image."""
        numbers = poses.keypoints, poses.keypoint_scores, poses.scores, poses.class_scores
        return People(*numbers, image, self.skeleton, self.config.data.joint_pixel_offset, path)

    def maps(self, image: Any, threshold: float = 0.3, most: int | None = None) -> "PeopleMaps":
        """The people in one image, at most `most` of them, and what made their poses: maps, theta, F_kp (Figure 1).

        An image is what `__call__` takes; errors are the same, and UserError where the method has no such maps.
        """
        if self.method.maps is None:
            raise UserError("this model's method has no maps of its people")
        pixels = as_array(image)
        source = pipeline.Pictures([pixels], self.skeleton)
        batch = pipeline.load_batch(source, self.plan(source)[0], self.config)
        outputs, poses = self.look(self.variables, batch.image, batch.size)
        (found,) = in_originals(jax.device_get(poses), batch)
        kept = np.flatnonzero(found.scores >= threshold)[:most]
        found = jax.tree.map(lambda x: x[kept], found)
        padded = batch.image.shape[1:3]
        explain = jax.jit(self.method.maps, static_argnums=2)
        made_by = explain(outputs, batch.size, padded, found.location[None])
        made_by = jax.tree.map(lambda x: x[0], jax.device_get(made_by))
        height, width = batch.size[0]
        return PeopleMaps(
            self.people_of(found, pixels, path_of(image)),
            made_by.maps,
            made_by.theta,
            made_by.features,
            made_by.points,
            batch.image[0, :height, :width],
            padded[0] // made_by.maps.shape[2],
        )

    def video(self, path: str | Path, threshold: float = 0.3) -> Iterator[People]:
        """`People` of every frame of a video file, in order, while it is read: only a batch of frames is held.

        FileNotFoundError or UserError where it is no video; a warning at the end where that comes too early.
        """
        place = paths.absolute(path)  # now: a generator looks at it only when it is asked for the first frame

        def found() -> Iterator[People]:
            frames = video_files.read_frames(place)
            while batch := list(islice(frames, BATCH)):
                for frame, people in zip(batch, self([frame.image for frame in batch], threshold), strict=True):
                    yield replace(people, path=path_of(path), seconds=frame.seconds)

        return found()

    def find(self, source: pipeline.Source, process: int = 0, num_processes: int = 1) -> Iterator[tuple[int, Poses]]:
        """Every picture of a source at the test size: its index there, and as numpy everybody in it; no threshold.

        Joints are in pixels of the picture, without padding people.  Pictures of one padded shape go together, so the
        order is the plan's.  Of several processes each takes its steps in turn.
        """
        plan = self.plan(source)
        return self.find_in(source, plan, range(process, plan.steps_per_epoch, num_processes))

    def try_largest(self, source: pipeline.Source) -> None:
        """Find everybody in the largest batch of a source alone, so that a lack of memory shows; jax's error then."""
        plan = self.plan(source)
        largest = max(
            range(plan.steps_per_epoch), key=lambda step: math.prod((len(plan[step].flip), *plan[step].shape))
        )
        for _ in self.find_in(source, plan, range(largest, largest + 1)):
            pass

    def plan(self, source: pipeline.Source) -> Plan:
        """The batches of a source; their size is a multiple of the devices."""
        number = self.mesh.size if self.mesh else 1
        return pipeline.make_plan(source, self.config, train=False, batch_size=-(-BATCH // number) * number)

    def find_in(self, source: pipeline.Source, plan: Plan, steps: range) -> Iterator[tuple[int, Poses]]:
        """`find` in some steps of the plan."""
        batches = pipeline.batches(source, plan, self.config, steps.start, steps.stop, every=steps.step)
        for step, batch in zip(steps, batches, strict=True):
            poses = jax.device_get(self.poses(self.variables, batch.image, batch.size))
            yield from zip(plan[step].index.tolist(), in_originals(poses, batch), strict=False)


def in_originals(poses: Poses, batch: Batch) -> list[Poses]:
    """Poses of a padded batch -> those of each real picture, without padding, in pixels of the original."""
    found = []
    for b in range(int(batch.is_real.sum())):
        mine = jax.tree.map(lambda x, b=b: x[b][poses.is_person[b]], poses)
        found.append(mine._replace(keypoints=(mine.keypoints / batch.scale[b]).astype(np.float32)))
    return found


def rectangles(keypoints: Float32[np.ndarray, "N K 2"]) -> Float32[np.ndarray, "N 4"]:
    """x0 y0 x1 y1 around each person's joints."""
    return np.concatenate([keypoints.min(1), keypoints.max(1)], -1)


def coco_results(found: Poses | People, image_id: int, joint_pixel_offset: float) -> list[dict[str, Any]]:
    """A dict a person as COCO's results have it; its joints count pixels from their index, ours do not."""
    triples = np.concatenate([found.keypoints - np.float32(joint_pixel_offset), found.keypoint_scores[..., None]], -1)
    return [
        {
            "image_id": int(image_id),
            "category_id": 1,
            "keypoints": triples[n].astype(float).ravel().tolist(),
            "score": float(found.scores[n]),
            "bbox": [*box[:2].astype(float).tolist(), *(box[2:] - box[:2]).astype(float).tolist()],
        }
        for n, box in enumerate(rectangles(found.keypoints))
    ]


def check_fit(method: Method, variables: Any) -> None:
    """UserError where variables are not those of a method's network, every difference listed."""
    wanted = jax.eval_shape(method.init, jax.random.key(0))
    if differing := checkpoints.differences(wanted, variables):
        raise UserError(
            f"the checkpoint does not fit the config, {'; '.join(differing)}; leave out the --config fields that "
            f"change the network"
        )


def path_of(image: Any) -> Path | None:
    """Where a picture came from, if it was a file."""
    return paths.expanded(image) if isinstance(image, str | Path) else None


def as_array(image: Any) -> UInt8[np.ndarray, "H W 3"]:
    """Any accepted picture as RGB bytes."""
    if isinstance(image, str | Path):
        return read_image(paths.expanded(image), follow_exif=True)
    if isinstance(image, Image.Image):
        image = rgb_of(image)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape[2:] == (3,) and image.size:
        return image
    what = f"an array of {image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise UserError(f"a picture is a path, a PIL image or an RGB array u8[height, width, 3]; this is {what}")


def load(path: str | Path, devices: Sequence[Any] = (), recipe: str | Path | None = None) -> Predictor:
    """A predictor from a workdir or a checkpoint's folder; errors as `checkpoints.load`, `devices` as `Predictor`.

    `recipe` is the file of the recipe, where the run was trained with a method of its own.
    """
    loaded = checkpoints.load(path, recipes.read(recipe) if recipe is not None else None)
    return Predictor(loaded.config, loaded.variables, devices, loaded.method)
