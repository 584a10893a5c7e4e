"""The names that users write as ``rf.<name>``: graph building, under TensorFlow 1's names."""
from __future__ import annotations

from .define import convert_to_tensor as convert_to_tensor
from .device import DeviceSpec as DeviceSpec
from .dtypes import (DType as DType, as_dtype as as_dtype, bfloat16 as bfloat16, float16 as float16, float32 as float32,
                     float64 as float64, int8 as int8, int16 as int16, int32 as int32, int64 as int64, resource as resource,
                     string as string, uint8 as uint8, uint16 as uint16, uint32 as uint32, uint64 as uint64,
                     variant as variant)
from .dtypes import bool_ as bool  # noqa: A004
from .gradients import gradients as gradients
from .graph import (Graph as Graph, GraphKeys as GraphKeys, get_default_graph as get_default_graph,
                    reset_default_graph as reset_default_graph)
from .indexed_slices import IndexedSlices as IndexedSlices
from .initializers import *  # noqa: F403
from .operation import Operation as Operation, Tensor as Tensor
from .ops.api import *  # noqa: F403
from .scopes import (add_to_collection as add_to_collection, colocate_with as colocate_with,
                     control_dependencies as control_dependencies, device as device, get_collection as get_collection,
                     get_collection_ref as get_collection_ref, name_scope as name_scope)
from .session import Session as Session, get_default_session as get_default_session
from .shapes import TensorShape as TensorShape
from .text import graph_text as graph_text
from .variables import (AUTO_REUSE as AUTO_REUSE, Variable as Variable, VariableScope as VariableScope,
                        get_variable as get_variable, get_variable_scope as get_variable_scope,
                        global_variables as global_variables,
                        global_variables_initializer as global_variables_initializer, local_variables as local_variables,
                        local_variables_initializer as local_variables_initializer,
                        trainable_variables as trainable_variables, variable_scope as variable_scope,
                        variables_initializer as variables_initializer)
from .wire import import_graph_def as import_graph_def
