"""The training layer: optimizers, learning rates and the global step, under TensorFlow 1's names (``rf.train``)."""
from ringflow.graph.files.graph_file import write_graph as write_graph
from ringflow.graph.files.meta_graph import (
    export_meta_graph as export_meta_graph,
    import_meta_graph as import_meta_graph,
)
from ringflow.graph.proto.example_pb2 import (
    BytesList as BytesList,
    Example as Example,
    Feature as Feature,
    Features as Features,
    FloatList as FloatList,
    Int64List as Int64List,
)

from .adadelta import AdadeltaOptimizer as AdadeltaOptimizer
from .adagrad import AdagradOptimizer as AdagradOptimizer
from .adam import AdamOptimizer as AdamOptimizer
from .coordinator import Coordinator as Coordinator, LooperThread as LooperThread
from .event_file import summary_iterator as summary_iterator
from .ftrl import FtrlOptimizer as FtrlOptimizer
from .global_step import (
    create_global_step as create_global_step,
    get_global_step as get_global_step,
    get_or_create_global_step as get_or_create_global_step,
)
from .gradient_descent import GradientDescentOptimizer as GradientDescentOptimizer
from .input import (
    batch as batch,
    batch_join as batch_join,
    input_producer as input_producer,
    limit_epochs as limit_epochs,
    match_filenames_once as match_filenames_once,
    maybe_batch as maybe_batch,
    range_input_producer as range_input_producer,
    shuffle_batch as shuffle_batch,
    shuffle_batch_join as shuffle_batch_join,
    slice_input_producer as slice_input_producer,
    string_input_producer as string_input_producer,
)
from .learning_rate import (
    cosine_decay as cosine_decay,
    exponential_decay as exponential_decay,
    inverse_time_decay as inverse_time_decay,
    natural_exp_decay as natural_exp_decay,
    piecewise_constant as piecewise_constant,
    polynomial_decay as polynomial_decay,
)
from .momentum import MomentumOptimizer as MomentumOptimizer
from .optimizer import Optimizer as Optimizer
from .queue_runner import (
    QueueRunner as QueueRunner,
    add_queue_runner as add_queue_runner,
    start_queue_runners as start_queue_runners,
)
from .rmsprop import RMSPropOptimizer as RMSPropOptimizer
