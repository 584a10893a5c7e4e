"""Several devices: place.py gives every node one before all passes; after them partition.py splits the graph, and
receive.py orders when the parts receive.
"""
from .partition import partition
from .place import log_placement, place
from .receive import receive_late

__all__ = ["log_placement", "partition", "place", "receive_late"]
