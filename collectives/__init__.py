"""How processes agree: communicators, and the world of the processes that were launched together."""
from . import loopback as loopback, passes as passes
from .communicator import Communicator as Communicator
from .lane import averages as averages
from .loss_scale import DynamicLossScale as DynamicLossScale
from .ops import all_gather as all_gather, all_reduce as all_reduce, broadcast as broadcast
from .report import describe as describe, measure as measure
from .shard_ops import shard_mean as shard_mean
from .shards import shard_rows as shard_rows
from .strategies import distribute as distribute
from .world import (
    current as current,
    init as init,
    local_rank as local_rank,
    local_size as local_size,
    rank as rank,
    size as size,
)
