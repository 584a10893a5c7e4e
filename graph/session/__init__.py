"""Running: sessions, the plans that they make and keep, the backends that execute them, and traces of runs."""
from .backend import BACKENDS as BACKENDS
from .session import (
    InteractiveSession as InteractiveSession,
    Session as Session,
    default_session as default_session,
    get_default_session as get_default_session,
)
