"""The order of a run where the graph leaves it open: reads and updates of variables, and locks.

What these passes decide is part of what a graph means: they come before those that fold, join or drop nodes.
"""
from .locks import order_locks
from .updates import ONLY_READ, is_update, order_updates

__all__ = ["ONLY_READ", "is_update", "order_locks", "order_updates"]
