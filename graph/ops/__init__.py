"""Op definitions, one family a file. Importing this package fills the registry."""
from . import core as core
from . import math_unary as math_unary
from . import math_binary as math_binary
from . import compare as compare
from . import cast as cast
from . import math as math
