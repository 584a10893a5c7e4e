"""How processes agree: communicators, and the world of the processes that were launched together."""
from . import loopback as loopback
from . import passes as passes
from .communicator import Communicator as Communicator
from .ops import all_gather as all_gather
from .ops import all_reduce as all_reduce
from .ops import broadcast as broadcast
from .strategies import distribute as distribute
from .world import current as current
from .world import init as init
from .world import local_rank as local_rank
from .world import local_size as local_size
from .world import rank as rank
from .world import size as size
