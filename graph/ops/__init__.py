"""Op definitions, one family a file. Importing this package fills the registry."""
from . import core as core
