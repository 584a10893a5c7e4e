"""The passes of this layer, in order; registered when ``ringflow.collectives`` is imported."""
from __future__ import annotations

from ringflow.graph.passes import register

from .attach import attach_communicator
from .buckets import merge_into_buckets
from .consensus import check_consensus
from .order import order_collectives
from .release import release_results
from .shards import split_into_shards
from .shared_variables import update_by_slices

register("split into shards", split_into_shards, before="order reads before updates")
register("attach communicator", attach_communicator)
register("merge reductions into buckets", merge_into_buckets)
register("order collectives", order_collectives)
register("check consensus", check_consensus)
register("update by slices", update_by_slices)
register("release results", release_results)
