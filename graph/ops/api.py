"""The op functions that users call, under TensorFlow 1's names. A family is imported here, not the whole registry."""
from __future__ import annotations

from .activation import sigmoid, tanh
from .argmax import argmax as arg_max, argmax, argmin as arg_min, argmin
from .array import fill, one_hot, range_ as range
from .bias import bias_add
from .cast import cast
from .checks import assert_op as Assert, check_numerics
from .compare import (
    equal, greater, greater_equal, is_finite, is_inf, is_nan, less, less_equal, logical_and, logical_not, logical_or,
    not_equal,
)
from .concat import concat, split
from .core import (
    constant, group, identity, no_op, ones, ones_like, placeholder, placeholder_with_default, stop_gradient,
    tuple_ as tuple, zeros, zeros_like,
)
from .gather import gather, gather_nd, scatter_nd
from .math import (
    abs, accumulate_n, div, divide, logical_xor, mod, pow, round, scalar_mul, to_double, to_float, to_int32,
    to_int64, truediv, where,
)
from .math_binary import (
    add, add_n, div_no_nan, floordiv, floormod, maximum, minimum, multiply, squared_difference, subtract,
)
from .math_unary import ceil, cos, exp, expm1, floor, log, log1p, negative, reciprocal, rsqrt, sign, sin, sqrt, square
from .matmul import matmul_any as matmul, tensordot
from .pack import stack, unstack
from .pad import matrix_band_part, pad, tile
from .random import (
    multinomial, random_normal, random_shuffle, random_uniform, set_random_seed, truncated_normal,
)
from .reader import matching_files, read_file, write_file
from .reduce import l2_loss
from .reductions import (
    reduce_all, reduce_any, reduce_logsumexp, reduce_max, reduce_mean, reduce_min, reduce_prod, reduce_sum,
)
from .reverse import reverse, reverse_sequence
from .scan import cumprod, cumsum
from .segment import unique, unsorted_segment_sum
from .shape_ops import (
    broadcast_to, expand_dims, invert_permutation, reshape, shape, shape_n, squeeze, transpose,
)
from .slicing import slice_ as slice, strided_slice
from .stitch import dynamic_partition, dynamic_stitch
from .strings import string_join, string_to_hash_bucket_fast
from .state import (
    assign, assign_add, assign_sub, count_up_to, is_variable_initialized, scatter_add, scatter_sub, scatter_update,
)
