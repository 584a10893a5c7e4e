"""The names that users write as ``rf.<name>``: graph building, under TensorFlow 1's names."""
from __future__ import annotations

from .functions.array_functions import (
    boolean_mask, count_nonzero, diag, diag_part, eye, linspace, linspace as lin_space, meshgrid, norm, sequence_mask,
    trace,
)
from .functions.clip import clip_by_global_norm, clip_by_norm, clip_by_value, global_norm
from .control_flow import case, cond, switch_case, while_loop
from .state.accumulators import *  # noqa: F403
from .state.critical_section import CriticalSection
from .define import convert_to_tensor
from .device import DeviceSpec
from .dtypes import (
    DType, as_dtype, bfloat16, bool_ as bool, float16, float32, float64, int8, int16, int32, int64, resource,
    string, uint8, uint16, uint32, uint64, variant,
)
from .functions.functional import foldl, foldr, map_fn, scan
from .autodiff.gradients import gradients
from .graph import Graph, GraphKeys, get_default_graph, reset_default_graph
from .indexed_slices import IndexedSlices
from .state.initializers import *  # noqa: F403
from .operation import Operation, Tensor
from .ops.api import *  # noqa: F403
from .functions.parsing import *  # noqa: F403
from .state.queues import *  # noqa: F403
from .state.readers import *  # noqa: F403
from .scopes import (
    add_to_collection, colocate_with, container, control_dependencies, device, get_collection, get_collection_ref,
    name_scope,
)
from .run_options import *  # noqa: F403
from .default_session import get_default_session
from .session import InteractiveSession, Session
from .session.fetches import SparseTensorValue
from .shapes import TensorShape
from .session.step_stats import RunMetadata
from .sparse_tensor import SparseTensor, sparse_tensor_to_dense
from .state.tensor_array import TensorArray
from .files.text import graph_text
from .state.variable_scope import (
    AUTO_REUSE, VariableScope, get_variable, get_variable_scope, variable_scope,
)
from .state.variables import (
    Variable, global_variables, global_variables as all_variables, global_variables_initializer,
    global_variables_initializer as initialize_all_variables, local_variables, local_variables_initializer,
    trainable_variables, variables_initializer,
)
from .files.wire import import_graph_def
