"""Running: sessions, the plans that they make and keep, the backends that execute them, and traces of runs."""
from .backend import BACKENDS as BACKENDS
from .session import InteractiveSession as InteractiveSession, Session as Session
