"""Prints as JSON what TensorBoard finds in a directory of event files. Run by a Python with TensorBoard."""
import hashlib
import json
import sys

from tensorboard.backend.event_processing import event_accumulator

HISTOGRAM = ("min", "max", "num", "sum", "sum_squares", "bucket_limit", "bucket")

logdir, = sys.argv[1:]
found = event_accumulator.EventAccumulator(logdir, size_guidance={"histograms": 0, "images": 0, "scalars": 0})
found.Reload()
tags = found.Tags()
graph = found.Graph() if tags["graph"] else None
runs = {tag: found.RunMetadata(tag) for tag in tags["run_metadata"]}
print(json.dumps({
    "scalars": {t: [(e.step, e.value) for e in found.Scalars(t)] for t in tags["scalars"]},
    "histograms": {t: [(e.step, [getattr(e.histogram_value, k) for k in HISTOGRAM]) for e in found.Histograms(t)]
                   for t in tags["histograms"]},
    "images": {t: [(e.step, e.width, e.height, hashlib.sha256(e.encoded_image_string).hexdigest())
                   for e in found.Images(t)] for t in tags["images"]},
    "nodes": sorted(n.name for n in graph.node) if graph else None,
    "shapes": {n.name: [[d.size for d in s.dim] for s in n.attr["_output_shapes"].list.shape]
               for n in graph.node} if graph else None,
    "runs": {t: sorted(n.node_name for d in m.step_stats.dev_stats for n in d.node_stats) for t, m in runs.items()},
}))
