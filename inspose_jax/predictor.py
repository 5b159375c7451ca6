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
from typing import Any, cast

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Float32, UInt8
from PIL import Image

from inspose_jax import checkpoints, draw, paths
from inspose_jax.config import Config
from inspose_jax.data import pipeline, video_files
from inspose_jax.data.image_files import read_image
from inspose_jax.data.pil_images import rgb_of
from inspose_jax.data.plan import Plan
from inspose_jax.decode import decode
from inspose_jax.errors import UserError
from inspose_jax.network import kp_net
from inspose_jax.network.inspose import InsPose
from inspose_jax.skeletons import SKELETONS, Skeleton
from inspose_jax.structures import Batch, Outputs, Poses

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


class Predictor:
    """A trained model that finds people; made by `load`, or from a config and its variables.

    `devices` of this process divide each batch among them; by default the first one works alone.
    """

    def __init__(self, config: Config, variables: Any, devices: Sequence[Any] = ()):
        self.config, model = config, config.model
        self.mesh = Mesh(np.asarray(devices), (ROWS,)) if len(devices) > 1 else None
        alone = SingleDeviceSharding(devices[0]) if len(devices) == 1 else None
        self.place = NamedSharding(self.mesh, PartitionSpec()) if self.mesh else alone  # of the variables
        self.take(variables)
        self.skeleton = SKELETONS[model.skeleton]
        self.network = InsPose(model)
        self.kp_net = kp_net.make(model.kp_net, self.skeleton.num_keypoints)
        self.poses = jax.jit(self.poses_of)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what it is made from, for process pools and the like; what was compiled is compiled again."""
        return type(self), (self.config, jax.device_get(self.variables))

    def take(self, variables: Any) -> None:
        """Work with these variables from now on: they are put on every device, and those before let go of."""
        self.variables = jax.device_put(variables, self.place)

    def outputs_of(self, variables: Any, image: jax.Array, size: jax.Array) -> Outputs:
        """u8[B,H,W,3] padded pictures and their sizes -> what the network says about them."""
        return cast(Outputs, self.network.apply(variables, image, size))

    def poses_of(self, variables: Any, image: jax.Array, size: jax.Array) -> Poses:
        """u8[B,H,W,3] padded pictures and their sizes -> `Poses` in pixels of the padded pictures.

        Each device works on rows of its own; what does not divide, such as a single image, all of them work on alike.
        """

        def rows_of(variables: Any, image: jax.Array, size: jax.Array) -> Poses:
            outputs = self.outputs_of(variables, image, size)
            return decode(outputs, size, (image.shape[1], image.shape[2]), self.config.model, self.kp_net)

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
            numbers = poses.keypoints, poses.keypoint_scores, poses.scores, poses.class_scores
            offset = self.config.data.joint_pixel_offset
            found = People(*numbers, pictures[i], self.skeleton, offset, path_of(images[i]))
            people[i] = found.above(threshold)
        return [people[i] for i in range(len(pictures))]

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


def check_fit(config: Config, variables: Any) -> None:
    """ValueError where variables are not those of the config's network, every difference listed."""
    image, size = np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 2), np.int32)
    network = InsPose(config.model)
    wanted = jax.eval_shape(lambda: network.init(jax.random.key(0), image, size, train=True))
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


def load(path: str | Path, devices: Sequence[Any] = ()) -> Predictor:
    """A predictor from a workdir or a checkpoint's folder; errors as `checkpoints.load`, `devices` as `Predictor`."""
    loaded = checkpoints.load(path)
    return Predictor(loaded.config, loaded.variables, devices)
