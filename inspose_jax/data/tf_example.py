"""Read `tf.train.Example`, the message in which TFDS stores a record, without TensorFlow and without TFDS.

The message is described here instead of imported: TensorFlow is large, and importing TFDS takes as long as a batch.
"""

from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
LISTS = (("BytesList", FIELD.TYPE_BYTES), ("FloatList", FIELD.TYPE_FLOAT), ("Int64List", FIELD.TYPE_INT64))
KINDS = {"bytes_list": np.object_, "float_list": np.float32, "int64_list": np.int64}


def parse(record: bytes) -> dict[str, np.ndarray]:
    """The features of a record by name, each as a flat array: f32, i64, or bytes objects.

    Raises protobuf's DecodeError if the bytes are no such message.
    """
    return {name: values(feature) for name, feature in Example.FromString(record).features.feature.items()}


def values(feature: Any) -> np.ndarray:
    """The list that a feature holds, whichever of the three kinds; empty if it holds none."""
    kind = feature.WhichOneof("kind")
    return np.array(getattr(feature, kind).value, KINDS[kind]) if kind else np.zeros(0, np.float32)


def describe() -> type[Any]:
    """The class of the message, as TensorFlow's example.proto and feature.proto define it.

    It has a pool of its own, since TensorFlow, if somebody imports it, registers the same names in the common one.
    """
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")
    for name, kind in LISTS:
        file.message_type.add(name=name).field.add(name="value", number=1, label=FIELD.LABEL_REPEATED, type=kind)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, (message, _)) in enumerate(zip(KINDS, LISTS, strict=True), start=1):
        feature.field.add(
            name=name,
            number=number,
            label=FIELD.LABEL_OPTIONAL,
            type=FIELD.TYPE_MESSAGE,
            type_name=f".tensorflow.{message}",
            oneof_index=0,
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")  # proto's way of a map<string, Feature>
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=FIELD.LABEL_OPTIONAL, type=FIELD.TYPE_STRING)
    for message, name, number, label, kind in (
        (entry, "value", 2, FIELD.LABEL_OPTIONAL, "Feature"),
        (features, "feature", 1, FIELD.LABEL_REPEATED, "Features.FeatureEntry"),
        (file.message_type.add(name="Example"), "features", 1, FIELD.LABEL_OPTIONAL, "Features"),
    ):
        type_name = f".tensorflow.{kind}"
        message.field.add(name=name, number=number, label=label, type=FIELD.TYPE_MESSAGE, type_name=type_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


Example = describe()
