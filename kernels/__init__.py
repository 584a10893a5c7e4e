from . import openblas as openblas  # before _core
