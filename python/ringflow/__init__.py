"""ringflow: dataflow training for people who own mpirun."""
from ringflow.version import __version__ as __version__
