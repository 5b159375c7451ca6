"""Build a TFDS dataset of images with people, in ArrayRecord files, without TensorFlow.

`builder_from_directory(FOLDER).as_data_source()` of TFDS reads what `build` writes, and so does `shards.BuiltSet`.
"""

import contextlib
import io
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import grain
import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from inspose_jax import files
from inspose_jax.data import check, shard_index, shards
from inspose_jax.data.pipeline import StoredSource
from inspose_jax.errors import UserError
from inspose_jax.structures import Record

IMAGES_PER_SHARD = 1000  # unless the number of shards is given: some 160 MB of COCO's images


class Keypoints(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Images with people and the joints of a skeleton."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "The first."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="all", description="All images, those without people too."),
        tfds.core.BuilderConfig(name="labelled", description="The images with a person who has a labelled joint."),
    ]

    def __init__(
        self,
        sources: dict[str, StoredSource],
        num_shards: int | None,
        num_workers: int,
        done: Callable[[], object],
        **options: Any,
    ):
        """The sources by the name of their split, which share a skeleton; `done` is called after each image."""
        self.sources, self.num_shards, self.num_workers, self.done = sources, num_shards, num_workers, done
        self.written: dict[str, list[Record]] = {split: [] for split in sources}  # without their images
        has_crowd_index = any(len(source) and source.record(0).crowd_index is not None for source in sources.values())
        self.stored = features(next(iter(sources.values())).skeleton.num_keypoints, has_crowd_index)
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        first = next(iter(self.sources.values()))
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images with the joints of the people in them, and their boxes and masks.  Joints and boxes "
            "are in pixels of the image, x before y.",
            features=self.stored,
            disable_shuffling=True,  # in the order of the images' ids
            metadata=metadata(first),
        )

    def chosen(self, split: str) -> np.ndarray:
        """The indices of the images of a split that this config takes."""
        source = self.sources[split]
        everything = np.ones(len(source), bool)
        return np.flatnonzero(source.is_labelled if self.builder_config_name == "labelled" else everything)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {split: self._generate_examples(split) for split in self.sources}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        source = self.sources[split]
        for record in checked(source, self.chosen(split).tolist(), self.num_workers):
            self.written[split].append(record._replace(image=b"", masks=()))
            yield record.image_id, {name: value for name, value in example_of(record).items() if name in self.stored}
            self.done()

    def _generate_splits(self, dl_manager: Any, download_config: Any) -> list[tfds.core.SplitInfo]:
        # TFDS itself first collects a split to sort it, in memory up to 1 GB and beyond that in files, for which it
        # imports TensorFlow.  Here order and number of images are known, so that each goes straight to its shard.
        return [self.write(split, examples) for split, examples in self._split_generators(dl_manager).items()]

    def write(self, split: str, examples: Iterator[tuple[int, dict[str, Any]]]) -> tfds.core.SplitInfo:
        """Write the shards of a split, of sizes that differ by one image at most."""
        template, number = self._get_filename_template(split), len(self.chosen(split))
        num_shards = self.num_shards or -(-number // IMAGES_PER_SHARD)
        ends = np.linspace(0, number, num_shards + 1).round().astype(int)
        serialize = ExampleSerializer(self.stored.get_serialized_info()).serialize_example  # type: ignore
        num_bytes, lengths = 0, np.diff(ends).tolist()
        for shard, length in enumerate(lengths):
            path = template.sharded_filepath(shard_index=shard, num_shards=num_shards)
            writer = ArrayRecordWriter(str(path), "group_size:1")  # larger groups make random access slow
            for _ in range(length):
                data = serialize(self.stored.encode_example(next(examples)[1]))
                num_bytes += len(data)
                writer.write(data)
            writer.close()
        assert next(examples, None) is None, "more images than announced"
        return tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=num_bytes, filename_template=template)


def features(num_keypoints: int, has_crowd_index: bool) -> tfds.features.FeaturesDict:
    """What a record holds; N is the number of people."""
    crowd_index = tfds.features.Scalar(np.float32, doc="How crowded the image is, from 0 to 1; NaN where unknown.")

    def of_people(shape: tuple[int, ...], kind: type, doc: str) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=(None, *shape), dtype=kind, doc=doc)

    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3), doc="The image file, byte for byte."),
            "image_id": tfds.features.Scalar(np.int64),
            "file_name": tfds.features.Text(),
            "size": tfds.features.Tensor(shape=(2,), dtype=np.int32, doc="Height and width that the labels refer to."),
            "people": {
                "joints": of_people((num_keypoints, 2), np.float32, "x, y; 0, 0 where the joint is not labelled."),
                "visibility": of_people((num_keypoints,), np.uint8, "0 not labelled, 1 hidden, 2 seen."),
                "box": of_people((4,), np.float32, "x0, y0, x1, y1."),
                "area": of_people((), np.float32, "Pixels of the visible mask, which OKS divides by."),
                "is_crowd": of_people((), np.bool_, "A group of people under one label."),
                "mask": of_people((), np.str_, "The counts of COCO's compressed RLE; empty where unknown."),
            },
        }
        | ({"crowd_index": crowd_index} if has_crowd_index else {})
    )


def metadata(source: StoredSource) -> tfds.core.MetadataDict:
    """The skeleton, and what the numbers mean."""
    skeleton = source.skeleton
    return tfds.core.MetadataDict(
        skeleton=skeleton.name,
        keypoint_names=skeleton.keypoint_names,
        limbs=skeleton.limbs,
        flip_pairs=skeleton.flip_pairs,
        oks_sigmas=skeleton.oks_sigmas,
        joint_pixel_offset=source.joint_pixel_offset,
    )


def example_of(record: Record) -> dict[str, Any]:
    """A record as the values of all `features`; `shards.record_of` is the way back."""
    return {
        "image": record.image,
        "image_id": record.image_id,
        "file_name": record.file_name,
        "size": np.array(record.size, np.int32),
        "people": {
            "joints": record.keypoints[..., :2],
            "visibility": record.keypoints[..., 2].astype(np.uint8),
            "box": record.boxes_xyxy,
            "area": record.area,
            "is_crowd": record.is_crowd,
            "mask": [mask["counts"] if mask else "" for mask in record.masks],
        },
        "crowd_index": np.float32(np.nan if record.crowd_index is None else record.crowd_index),
    }


def checked(source: StoredSource, indices: Sequence[int], num_workers: int) -> Iterable[Record]:
    """Records in the order of `indices`, after threads have decoded each image once and looked at its labels.

    Raises UserError for the first that could not be trained on.
    """

    def look_at(index: int) -> Record:
        record = source.record(index)
        shards.sample_of(record, record.file_name)
        for joints in record.keypoints:
            if wrong := check.visibility_fault(joints, source.skeleton):
                raise UserError(f"{record.file_name}: {wrong}; `inspose data check` lists all faults")
        return record

    options = grain.ReadOptions(num_threads=num_workers, prefetch_buffer_size=4 * num_workers)
    return iter(grain.MapDataset.source(indices).map(look_at).to_iter_dataset(options))


def build(
    out: Path,
    sources: dict[str, StoredSource],
    only_labelled: bool,
    num_shards: int | None,
    num_workers: int,
    done: Callable[[], object],
) -> Path:
    """Build a dataset of the sources, by the name of their split, in a new or empty folder.

    `num_workers` threads check the images; `done` is called after each.  Returns the folder of the version, which TFDS
    reads.  Raises UserError if a source has no image for this, or one that could not be trained on; then, and if the
    process is killed, nothing is left that passes for a dataset.
    """
    config = "labelled" if only_labelled else "all"
    with files.new_folder(out) as folder:
        # TFDS announces on standard output where it writes, which is not where the dataset will be.
        builder = Keypoints(sources, num_shards, num_workers, done, data_dir=str(folder), config=config)
        if len({source.skeleton for source in sources.values()}) > 1:
            raise UserError(f"the splits {', '.join(sources)} have different skeletons; build each by itself")
        for split, source in sources.items():
            number = len(builder.chosen(split))
            if number < max(num_shards or 1, 1):
                raise UserError(
                    f"{split}: {number} images are too few for {num_shards or 1} shards; give fewer --shards"
                )
            if len(np.unique(source.image_ids)) < len(source):
                raise UserError(f"{split}: two images have the same id; `inspose data check` lists all faults")
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(file_format="array_record", download_dir=str(folder / "downloads"))
        shutil.rmtree(folder / "downloads", ignore_errors=True)
        version = Path(builder.data_path)
        for split, source in sources.items():
            info, chosen = builder.info.splits[split], builder.chosen(split)
            written = [
                shard_index.Shard(Path(path).name, length, Path(path).stat().st_size)
                for path, length in zip(info.filepaths, info.shard_lengths, strict=True)
            ]
            shard_index.write(
                version,
                split,
                builder.written[split],
                written,
                source.skeleton,
                source.joint_pixel_offset,
                np.asarray(source.is_labelled)[chosen],
                np.asarray(source.has_people)[chosen],
            )
        relative = version.relative_to(folder)
    return out / relative
