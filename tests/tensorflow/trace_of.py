"""Makes TensorFlow's own timeline of a RunMetadata file and prints its operations as JSON."""
import json
import sys

from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import timeline

with open(sys.argv[1], "rb") as file:
    run_metadata = config_pb2.RunMetadata.FromString(file.read())
trace = json.loads(timeline.Timeline(run_metadata.step_stats).generate_chrome_trace_format(show_memory=True))
print(json.dumps(sorted((e["args"]["name"], e["name"]) for e in trace["traceEvents"] if e["ph"] == "X"
                        and e["cat"] == "Op")))
