"""The op functions that users call, under TensorFlow 1's names. A family is imported here, not the whole registry."""
from __future__ import annotations

from .argmax import argmax as argmax, argmin as argmin
from .array import (fill as fill, matrix_band_part as matrix_band_part, one_hot as one_hot, pad as pad, range_ as range,  # noqa: A004
                    tile as tile)
from .bias import bias_add as bias_add
from .cast import cast as cast
from .compare import (equal as equal, greater as greater, greater_equal as greater_equal, is_finite as is_finite, less as less,
                      less_equal as less_equal, logical_and as logical_and, logical_not as logical_not,
                      logical_or as logical_or, not_equal as not_equal)
from .concat import (concat as concat, dynamic_partition as dynamic_partition, dynamic_stitch as dynamic_stitch,
                     split as split, stack as stack, unstack as unstack)
from .core import (constant as constant, group as group, identity as identity, no_op as no_op, ones as ones,
                   ones_like as ones_like, placeholder as placeholder,
                   placeholder_with_default as placeholder_with_default, stop_gradient as stop_gradient, tuple_ as tuple,  # noqa: A004
                   zeros as zeros, zeros_like as zeros_like)
from .gather import gather as gather, gather_nd as gather_nd, scatter_nd as scatter_nd
from .math import (abs as abs, accumulate_n as accumulate_n, div as div, divide as divide, logical_xor as logical_xor,  # noqa: A004
                   mod as mod, pow as pow, round as round, scalar_mul as scalar_mul, to_double as to_double,  # noqa: A004
                   to_float as to_float, to_int32 as to_int32, to_int64 as to_int64, truediv as truediv, where as where)
from .math_binary import (add as add, add_n as add_n, div_no_nan as div_no_nan, floordiv as floordiv, floormod as floormod,
                          maximum as maximum, minimum as minimum, multiply as multiply,
                          squared_difference as squared_difference, subtract as subtract)
from .math_unary import (exp as exp, floor as floor, log as log, log1p as log1p, negative as negative,
                         reciprocal as reciprocal, rsqrt as rsqrt, sign as sign, sqrt as sqrt, square as square)
from .matmul import matmul_any as matmul, tensordot as tensordot
from .random import (multinomial as multinomial, random_normal as random_normal, random_shuffle as random_shuffle,
                     random_uniform as random_uniform, set_random_seed as set_random_seed,
                     truncated_normal as truncated_normal)
from .reduce import l2_loss as l2_loss
from .reductions import (reduce_all as reduce_all, reduce_any as reduce_any, reduce_logsumexp as reduce_logsumexp,
                         reduce_max as reduce_max, reduce_mean as reduce_mean, reduce_min as reduce_min,
                         reduce_prod as reduce_prod, reduce_sum as reduce_sum)
from .segment import unique as unique, unsorted_segment_sum as unsorted_segment_sum
from .shape_ops import (broadcast_to as broadcast_to, expand_dims as expand_dims, invert_permutation as invert_permutation,
                        reshape as reshape, shape as shape, shape_n as shape_n,
                        squeeze as squeeze, transpose as transpose)
from .activation import sigmoid as sigmoid, tanh as tanh
from .slicing import slice_ as slice, strided_slice as strided_slice  # noqa: A004
from .state import (assign as assign, assign_add as assign_add, assign_sub as assign_sub,
                    is_variable_initialized as is_variable_initialized, scatter_add as scatter_add, scatter_sub as scatter_sub,
                    scatter_update as scatter_update)
