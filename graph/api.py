"""The names that users write as ``rf.<name>``: graph building, under TensorFlow 1's names."""
from __future__ import annotations

from .array_functions import (
    boolean_mask, count_nonzero, diag, diag_part, eye, linspace, linspace as lin_space, meshgrid, norm, sequence_mask,
    trace,
)
from .clip import clip_by_global_norm, clip_by_norm, clip_by_value, global_norm
from .control_flow import case, cond, switch_case, while_loop
from .accumulators import *  # noqa: F403
from .critical_section import CriticalSection
from .define import convert_to_tensor
from .device import DeviceSpec
from .dtypes import (
    DType, as_dtype, bfloat16, bool_ as bool, float16, float32, float64, int8, int16, int32, int64, resource,
    string, uint8, uint16, uint32, uint64, variant,
)
from .functional import foldl, foldr, map_fn, scan
from .gradients import gradients
from .graph import Graph, GraphKeys, get_default_graph, reset_default_graph
from .indexed_slices import IndexedSlices
from .initializers import *  # noqa: F403
from .operation import Operation, Tensor
from .ops.api import *  # noqa: F403
from .parsing import *  # noqa: F403
from .queues import *  # noqa: F403
from .readers import *  # noqa: F403
from .scopes import (
    add_to_collection, colocate_with, container, control_dependencies, device, get_collection, get_collection_ref,
    name_scope,
)
from .run_options import *  # noqa: F403
from .session import InteractiveSession, Session, get_default_session
from .fetches import SparseTensorValue
from .shapes import TensorShape
from .step_stats import RunMetadata
from .sparse_tensor import SparseTensor, sparse_tensor_to_dense
from .tensor_array import TensorArray
from .text import graph_text
from .variable_scope import (
    AUTO_REUSE, VariableScope, get_variable, get_variable_scope, variable_scope,
)
from .variables import (
    Variable, global_variables, global_variables as all_variables, global_variables_initializer,
    global_variables_initializer as initialize_all_variables, local_variables, local_variables_initializer,
    trainable_variables, variables_initializer,
)
from .wire import import_graph_def
