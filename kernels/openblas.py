"""Loads the OpenBLAS of the scipy-openblas32 package, which `ringflow._core` is linked to, before `_core` is imported.

The dynamic loader then finds a library of that name already in the process and looks no further. A path recorded in
`_core` could not do it: pip builds in a temporary environment, and an editable `_core` lies far from site-packages.
`import scipy_openblas32` would do it too, but makes its symbols global, where SciPy's own copy would bind to them.
"""

import ctypes
import os
from importlib.util import find_spec

_package = find_spec("scipy_openblas32")
if _package is not None and _package.submodule_search_locations:  # absent: built for the site's BLAS
    ctypes.CDLL(os.path.join(_package.submodule_search_locations[0], "lib", "libscipy_openblas.so"))
