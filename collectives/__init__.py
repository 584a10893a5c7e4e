"""How processes agree: communicators, and the world of the processes that were launched together."""
from . import loopback as loopback
from .communicator import Communicator as Communicator
from .world import current as current
from .world import init as init
from .world import local_rank as local_rank
from .world import local_size as local_size
from .world import rank as rank
from .world import size as size
