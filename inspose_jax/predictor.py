"""From images to people: the only inference path, which `predict`, `eval`, the demo and Python code all use.

model = inspose_jax.load("runs/a")
people = model("photo.jpg")
for people in model.video("dance.mp4"): ...
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Float32, UInt8
from PIL import Image

from inspose_jax import checkpoints, draw, methods, passes, paths, recipes
from inspose_jax.config import Config, Passes
from inspose_jax.data import pipeline, video_files
from inspose_jax.data.image_files import read_image
from inspose_jax.data.pil_images import to_rgb
from inspose_jax.data.plan import Plan, at_other_scales, at_test_scales
from inspose_jax.errors import UserError
from inspose_jax.method import Method
from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Batch, KeypointMaps, Poses
from inspose_jax.torch_bridge import reading

BATCH = 8  # images of a list that go through the network at once
ROWS = "rows"  # the mesh axis that a batch is divided over
DRAWN = 0.05  # joints with a lower score are not drawn; their coordinates stay
Item = TypeVar("Item")


@dataclass(frozen=True)
class People:
    """The people found in one image, best first; N people, K joints; numpy float32, pixels of the original image."""

    keypoints: Float32[np.ndarray, "N K 2"]
    keypoint_scores: Float32[np.ndarray, "N K"]  # softmax peak of each joint's map
    scores: Float32[np.ndarray, " N"]  # people are ranked by them
    class_scores: Float32[np.ndarray, " N"]
    image: UInt8[np.ndarray, "H W 3"]  # RGB
    skeleton: Skeleton
    joint_pixel_offset: float  # our joint coordinates minus those of a COCO file, in pixels
    path: Path | None = None
    seconds: float | None = None  # time of a video's frame since the start of the video
    predicted_boxes: Float32[np.ndarray, "N 4"] | None = None  # x0 y0 x1 y1, of a model with a box head

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def boxes(self) -> Float32[np.ndarray, "N 4"]:
        """x0 y0 x1 y1: as a box head predicts it, or without one the smallest rectangle around each person's joints."""
        return rectangles(self.keypoints) if self.predicted_boxes is None else self.predicted_boxes

    def above(self, threshold: float) -> "People":
        """The people with a score of at least `threshold`."""
        kept = self.scores >= threshold
        fields = ("keypoints", "keypoint_scores", "scores", "class_scores", "predicted_boxes")
        values = {name: getattr(self, name) for name in fields}
        return replace(self, **{name: value if value is None else value[kept] for name, value in values.items()})

    def plot(self) -> UInt8[np.ndarray, "H W 3"]:
        """The image with all people drawn on it, RGB."""
        return draw.draw_people(self.image, self.keypoints, self.keypoint_scores >= DRAWN, self.skeleton)

    def save(self, path: str | Path) -> None:
        """Write `plot()` to a file in the format of its suffix; raises OSError or ValueError if that fails."""
        Image.fromarray(self.plot()).save(paths.expanded(path))

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """COCO results: one dict per person; joints are x, y, score in COCO's pixel indices, boxes are x, y, w, h."""
        return coco_results(self, image_id, self.joint_pixel_offset)

    def to_supervision(self) -> Any:
        """Convert to `supervision.KeyPoints`, for the annotators, trackers and metrics of the supervision library.

        Coordinates stay unchanged; joints that `plot` leaves out are not `visible`.  Raises UserError if supervision
        is not installed.
        """
        try:
            import supervision  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UserError("to_supervision() needs another package: pip install supervision") from None
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
    """The N people found in one image, with the maps, parameters and features behind their poses; numpy float32."""

    people: People  # best first, in pixels of the original image
    maps: Float32[np.ndarray, "N K h w"]  # softmax of each joint's map; h w cells of the padded image
    theta: Float32[np.ndarray, "N P"]  # parameters of each person's network
    features: Float32[np.ndarray, "h w C"]  # F_kp
    points: Float32[np.ndarray, "N 2"]  # the locations that generated them, (x, y) in pixels of `image`
    image: UInt8[np.ndarray, "H W 3"]  # RGB as the network saw it: resized, without its padding
    stride: int  # side of a map cell in pixels of `image`


class Predictor:
    """A trained model that finds people; create it with `load`, or from a config and its variables.

    Each batch is divided over `devices`, which must belong to this process; by default only the first device is used.
    `method` is the method that the variables belong to, by default that of the config.
    """

    def __init__(self, config: Config, variables: Any, devices: Sequence[Any] = (), method: Method | None = None):
        self.config, self.given_method = config, method
        self.mesh = Mesh(np.asarray(devices), (ROWS,)) if len(devices) > 1 else None
        alone = SingleDeviceSharding(devices[0]) if len(devices) == 1 else None
        self.place = NamedSharding(self.mesh, PartitionSpec()) if self.mesh else alone  # sharding of the variables
        self.set_variables(variables)
        self.skeleton: Skeleton = config.model.skeleton
        self.method = method or methods.for_model(config.model)
        if config.data.passes.test_flip and config.data.passes.test_merge == "maps" and not self.method.maps:
            raise UserError(
                "data.test_merge maps needs a method with maps of its people, which this one lacks; take oks"
            )
        self.poses = jax.jit(self.poses_of)
        self.compiled_forward = jax.jit(self.forward)
        self.merged = jax.jit(
            lambda poses, number: passes.merged(poses, number, self.skeleton.oks_sigmas, self.config.data.passes),
            static_argnums=1,
        )
        self.has_boxes: bool = getattr(getattr(config.model, "network", None), "box_head", False)
        self.explain = jax.jit(self.maps_of, static_argnums=2) if self.method.maps else None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the config, the variables and a given method; functions are compiled again.

        For process pools and the like.  A recipe's own method is made of local functions, which cannot be pickled.
        """
        return type(self), (self.config, jax.device_get(self.variables), (), self.given_method)

    @property
    def num_devices(self) -> int:
        """How many devices share a batch."""
        return self.mesh.size if self.mesh else 1

    def set_variables(self, variables: Any) -> None:
        """Use these variables from now on: put them on every device and release the previous ones."""
        self.variables = jax.device_put(variables, self.place)

    def forward(self, variables: Any, image: jax.Array, size: jax.Array) -> tuple[Any, Poses]:
        """u8[B,H,W,3] padded images and their sizes -> the method's outputs and poses, in padded pixels (Sec. 3.4)."""
        outputs, _ = self.method.apply(variables, image, size, train=False)
        return outputs, self.method.decode(outputs, size, (image.shape[1], image.shape[2]))

    def maps_of(self, outputs: Any, size: jax.Array, image_size: tuple[int, int], location: jax.Array) -> KeypointMaps:
        """The method's maps of the people at some locations of one padded image, without where cells put joints."""
        assert self.method.maps is not None
        return self.method.maps(outputs, size, image_size, location)._replace(joints=None)

    def poses_of(self, variables: Any, image: jax.Array, size: jax.Array) -> Poses:
        """The poses of `forward`, also of the mirrored images if the config says so, computed on all devices.

        Each device processes its own rows of the batch.  If the batch size is not a multiple of the number of devices,
        every device processes the whole batch.
        """

        def rows_of(variables: Any, image: jax.Array, size: jax.Array) -> Poses:
            data = self.config.data
            if not data.passes.test_flip:
                return self.forward(variables, image, size)[1]
            forward = partial(self.forward, variables)
            return passes.find_twice(forward, self.method.maps, image, size, self.skeleton, data.passes)

        if self.mesh is None or image.shape[0] % self.mesh.size:
            return rows_of(variables, image, size)
        whole, rows = PartitionSpec(), PartitionSpec(ROWS)
        # Nothing is reduced over devices, so there is nothing for `check_vma` to verify.
        divided = jax.shard_map(rows_of, mesh=self.mesh, in_specs=(whole, rows, rows), out_specs=rows, check_vma=False)
        return divided(variables, image, size)

    def __call__(self, images: Any, threshold: float = 0.3) -> Any:
        """One image -> `People`, a list of images -> a list of `People`.

        An image is a path, a u8[H,W,3] RGB array or a PIL image.  Files are rotated according to their EXIF
        orientation; PIL images are used as they are.  Transparency is ignored, and 16-bit values are scaled to 8 bits.
        Raises UserError, or its subclass NotFound for a missing file, which says what is wrong with an image.
        """
        if not isinstance(images, list | tuple):
            return self([images], threshold)[0]
        arrays = [as_array(image) for image in images]
        people: dict[int, People] = {}
        for i, poses in self.find(pipeline.Images(arrays, self.skeleton)) if arrays else ():
            people[i] = self.people_of(poses, arrays[i], path_of(images[i])).above(threshold)
        return [people[i] for i in range(len(arrays))]

    def people_of(self, poses: Poses, image: UInt8[np.ndarray, "H W 3"], path: Path | None) -> People:
        """Combine poses, in pixels of an image, with that image."""
        numbers = poses.keypoints, poses.keypoint_scores, poses.scores, poses.class_scores
        offset = self.config.data.joint_pixel_offset
        return People(*numbers, image, self.skeleton, offset, path, predicted_boxes=poses.boxes)

    def maps(self, image: Any, threshold: float = 0.3, most: int | None = None) -> PeopleMaps:
        """The people in one image, at most `most` of them, with the maps, theta and F_kp behind their poses (Figure 1).

        One pass only: neither the mirrored image nor other scales play a part.  Accepts the images that `__call__`
        accepts and raises the same errors; also raises UserError if the method has no such maps.
        """
        if self.explain is None:
            raise UserError("this model's method has no maps of its people")
        pixels = as_array(image)
        source = pipeline.Images([pixels], self.skeleton)
        plan = pipeline.make_plan(source, once(self.config), train=False, batch_size=1)
        batch = pipeline.load_batch(source, plan[0], self.config)
        outputs, poses = self.compiled_forward(self.variables, batch.image, batch.size)
        (found,) = to_original_pixels(jax.device_get(poses), batch)
        kept = np.flatnonzero(found.scores >= threshold)[:most]
        found = jax.tree.map(lambda x: x[kept], found)
        padded, number = batch.image.shape[1:3], len(kept)
        # For a power of two of people, so that images with other numbers of them need few more programs.
        location = np.zeros((1, 1 << max(number - 1, 0).bit_length()), found.location.dtype)
        location[0, :number] = found.location
        made_by = jax.tree.map(lambda x: x[0], jax.device_get(self.explain(outputs, batch.size, padded, location)))
        height, width = batch.size[0]
        return PeopleMaps(
            self.people_of(found, pixels, path_of(image)),
            made_by.maps[:number],
            made_by.theta[:number],
            made_by.features,
            made_by.points[:number],
            batch.image[0, :height, :width],
            padded[0] // made_by.maps.shape[2],
        )

    def video(self, path: str | Path, threshold: float = 0.3) -> Iterator[People]:
        """`People` of every frame of a video file, in order, while it is read: memory holds three batches of frames.

        A thread finds the people of one batch while the caller reads the next one and works on the one before.

        Raises NotFound, a FileNotFoundError, for a missing file and UserError if it is no video; warns at the end if
        the video stops too early.
        """
        place = paths.absolute(path)  # here, since a generator's body runs only when the first frame is requested

        def found() -> Iterator[People]:
            frames = video_files.read_frames(place)
            batches = iter(lambda: list(islice(frames, BATCH)), [])
            thread = ThreadPoolExecutor(1)
            begun = ((batch, thread.submit(self, [one.image for one in batch], threshold)) for batch in batches)
            try:
                for batch, finding in one_ahead(begun):
                    for frame, people in zip(batch, finding.result(), strict=True):
                        yield replace(people, path=path_of(path), seconds=frame.seconds)
            finally:  # perhaps by the garbage collector, in that very thread, which then cannot wait for itself
                thread.shutdown(wait=False, cancel_futures=True)

        return found()

    def find(self, source: pipeline.Source, process: int = 0, num_processes: int = 1) -> Iterator[tuple[int, Poses]]:
        """Find people in every image of a source at the test size; yields (index in the source, poses as numpy).

        No threshold is applied.  Joints are in pixels of the original image, and padding people are left out.  Images
        of one padded shape are batched together, so the order is that of the plan.  With several processes, `process`
        takes every `num_processes`-th step.
        """
        plan = self.plan(source)
        return self.find_in(source, plan, range(process, plan.steps_per_epoch, num_processes))

    def try_largest(self, source: pipeline.Source) -> None:
        """Find people in the largest batch of a source only, so that jax raises its error now if memory is short."""
        plan = self.plan(source)
        largest = max(
            range(plan.steps_per_epoch), key=lambda step: math.prod((len(plan[step].flip), *plan[step].shape))
        )
        for _ in self.find_in(source, plan, range(largest, largest + 1)):
            pass

    def plan(self, source: pipeline.Source) -> Plan:
        """The batches of a source, at the largest test scale; their size is a multiple of the number of devices."""
        number = self.num_devices
        config = replace(self.config, data=at_test_scales(self.config.data)[0])
        return pipeline.make_plan(source, config, train=False, batch_size=-(-BATCH // number) * number, fewest=number)

    def find_in(self, source: pipeline.Source, plan: Plan, steps: range) -> Iterator[tuple[int, Poses]]:
        """`find`, restricted to some steps of the plan, whose images are looked at at all test scales."""
        data = replace(self.config.data, shapes=plan.shapes)  # found by the plan if the config leaves them open
        planned = [[plan[step], *at_other_scales(plan[step], source.sizes, data, self.num_devices)] for step in steps]
        every_pass = [one for of_step in planned for one in of_step]
        batches = pipeline.batches(source, every_pass, self.config, 0, len(every_pass))
        # The devices already have the next batch while the host waits for one and works on it.
        ahead = one_ahead((batch, self.poses(self.variables, batch.image, batch.size)) for batch in batches)
        for of_step in planned:
            found: dict[int, list[Poses]] = defaultdict(list)
            for one, (batch, computed) in zip(of_step, ahead, strict=False):
                poses = jax.device_get(computed)
                for b, i in enumerate(one.index[one.index >= 0].tolist()):
                    found[i].append(at_original_size(poses, batch, b))
            for i, of_image in found.items():
                yield i, without_padding(of_image[0] if len(of_image) == 1 else self.merge_scales(of_image))

    def merge_scales(self, found: list[Poses]) -> Poses:
        """The people of one image, found at several scales, as one list; all in pixels of the original image."""
        return jax.device_get(self.merged(passes.joined(found, axis=0), found[0].scores.shape[0]))


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items in order, each of them given out once the next one is at hand."""
    waiting: list[Item] = []
    for item in items:
        yield from waiting
        waiting = [item]
    yield from waiting


def once(config: Config) -> Config:
    """The config with a single pass at test time."""
    return replace(config, data=replace(config.data, passes=Passes()))


def to_original_pixels(poses: Poses, batch: Batch) -> list[Poses]:
    """Poses of a padded batch -> the poses of each real image, without padding, in pixels of the original image."""
    return [without_padding(at_original_size(poses, batch, b)) for b in range(int(batch.is_real.sum()))]


def at_original_size(poses: Poses, batch: Batch, b: int) -> Poses:
    """The poses of image `b` of a padded batch, in pixels of the original image."""
    scale = batch.scale[b]
    mine = jax.tree.map(lambda x: x[b], poses)
    boxes = None if mine.boxes is None else (mine.boxes / np.tile(scale, 2)).astype(np.float32)
    return mine._replace(keypoints=(mine.keypoints / scale).astype(np.float32), boxes=boxes)


def without_padding(poses: Poses) -> Poses:
    """The people of one image, without those that are padding."""
    return jax.tree.map(lambda x: x[poses.is_person], poses)


def rectangles(keypoints: Float32[np.ndarray, "N K 2"]) -> Float32[np.ndarray, "N 4"]:
    """x0 y0 x1 y1 around each person's joints."""
    return np.concatenate([keypoints.min(1), keypoints.max(1)], -1)


def coco_results(found: Poses | People, image_id: int, joint_pixel_offset: float) -> list[dict[str, Any]]:
    """One dict per person in COCO's results format, whose joints are pixel indices: ours minus `joint_pixel_offset`."""
    boxes = rectangles(found.keypoints) if found.boxes is None else found.boxes
    triples = np.concatenate([found.keypoints - np.float32(joint_pixel_offset), found.keypoint_scores[..., None]], -1)
    return [
        {
            "image_id": int(image_id),
            "category_id": 1,
            "keypoints": triples[n].astype(float).ravel().tolist(),
            "score": float(found.scores[n]),
            "bbox": [*box[:2].astype(float).tolist(), *(box[2:] - box[:2]).astype(float).tolist()],
        }
        for n, box in enumerate(boxes)
    ]


def check_fit(method: Method, variables: Any) -> None:
    """Raise UserError, listing every difference, if the variables do not fit the method's network."""
    wanted = jax.eval_shape(method.init, jax.random.key(0))
    if differing := checkpoints.differences(wanted, variables):
        raise UserError(
            f"the checkpoint does not fit the config: {'; '.join(differing)}; leave out the --config fields that "
            f"change the network"
        )


def path_of(image: Any) -> Path | None:
    """The path of an image that was given as a file, else None."""
    return paths.expanded(image) if isinstance(image, str | Path) else None


def as_array(image: Any) -> UInt8[np.ndarray, "H W 3"]:
    """Any accepted image as an RGB array."""
    if isinstance(image, str | Path):
        return read_image(paths.expanded(image), follow_exif=True)
    if isinstance(image, Image.Image):
        image = to_rgb(image)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape[2:] == (3,) and image.size:
        return image
    what = f"an array of {image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise UserError(f"an image is a path, a PIL image or an RGB array u8[height, width, 3]; this is {what}")


def load(path: str | Path, devices: Sequence[Any] = (), recipe: str | Path | None = None) -> Predictor:
    """Load a predictor from a workdir, a checkpoint's folder, a file of PyTorch's weights or an exported folder.

    Raises the errors of `torch_bridge.reading.load`.

    `devices` is as in `Predictor`.  `recipe` is the recipe file; it is needed only if the run was trained with the
    recipe's own method.
    """
    loaded = reading.load(path, recipes.read(recipe) if recipe is not None else None)
    own_method = loaded.method if loaded.method.recipe else None  # without one, the predictor can be pickled
    return Predictor(loaded.config, loaded.variables, devices, own_method)
