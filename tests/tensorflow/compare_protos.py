"""Prints where serialized FileDescriptorProtos differ from TensorFlow's messages. Run by a Python with TensorFlow.

Every message, field number, type and label of ours must be TensorFlow's; it has more. A field of a message or enum type
compares by the type's name.
"""
import sys

import tensorflow  # noqa: F401  (loads its messages)
from google.protobuf import descriptor_pb2, descriptor_pool
from tensorflow.core.example import example_pb2  # noqa: F401
from tensorflow.core.framework import reader_base_pb2  # noqa: F401
from tensorflow.core.protobuf import queue_runner_pb2, tensor_bundle_pb2  # noqa: F401
from tensorflow.core.util import event_pb2  # noqa: F401


def bare(type_name):
    return type_name.split(".", 2)[-1]


def compare(ours, name, pool):
    try:
        theirs = pool.FindMessageTypeByName(f"tensorflow.{name}")
    except KeyError:
        print(f"{name}: TensorFlow has no such message")
        return 0
    proto = descriptor_pb2.DescriptorProto()
    theirs.CopyToProto(proto)
    fields = {f.name: f for f in proto.field}
    for f in ours.field:
        other = fields.get(f.name)
        if other is None:
            print(f"{name}.{f.name}: TensorFlow has no such field")
        # An enum and an int32 are one on the wire.
        elif (f.number, f.label) != (other.number, other.label) or f.type_name and (f.type, bare(f.type_name)) != (
                other.type, bare(other.type_name)) or not f.type_name and f.type != other.type and (
                f.type, other.type) != (f.TYPE_INT32, f.TYPE_ENUM):
            print(f"{name}.{f.name}: differs\n ours  {f}\n TensorFlow {other}".replace("\n", " "))
    return 1 + sum(compare(m, f"{name}.{m.name}", pool) for m in ours.nested_type if not m.options.map_entry)


def main(paths):
    pool, count = descriptor_pool.Default(), 0
    for path in paths:
        file = descriptor_pb2.FileDescriptorProto()
        with open(path, "rb") as stream:
            file.ParseFromString(stream.read())
        count += sum(compare(m, m.name, pool) for m in file.message_type)
        for enum in file.enum_type:
            theirs = pool.FindEnumTypeByName(f"tensorflow.{enum.name}").values_by_name
            for v in enum.value:
                if v.name not in theirs or theirs[v.name].number != v.number:
                    print(f"{enum.name}.{v.name} = {v.number}: differs")
    print(f"{count} messages compared")


if __name__ == "__main__":
    main(sys.argv[1:])
