"""How one process computes: importing this makes the C++ runtime the backend of sessions."""
from . import openblas as openblas  # isort: skip  (before _core, which is linked to it)
from . import processor as processor
from .backend import CppBackend as CppBackend
