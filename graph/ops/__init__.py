"""Op definitions, one family a file. Importing this package fills the registry."""
from . import core as core
from . import math_unary as math_unary
from . import math_binary as math_binary
from . import compare as compare
from . import cast as cast
from . import math as math
from . import shape_ops as shape_ops
from . import array as array
from . import concat as concat
from . import slicing as slicing
from . import gather as gather
from . import reduce as reduce
from . import reductions as reductions
from . import argmax as argmax
from . import segment as segment
from . import matmul as matmul
