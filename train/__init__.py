"""The training layer: optimizers, learning rates and the global step, under TensorFlow 1's names (``rf.train``)."""
from .adagrad import AdagradOptimizer as AdagradOptimizer
from .adam import AdamOptimizer as AdamOptimizer
from .event_file import summary_iterator as summary_iterator
from .global_step import (
    create_global_step as create_global_step,
    get_global_step as get_global_step,
    get_or_create_global_step as get_or_create_global_step,
)
from .gradient_descent import GradientDescentOptimizer as GradientDescentOptimizer
from .learning_rate import exponential_decay as exponential_decay
from .momentum import MomentumOptimizer as MomentumOptimizer
from .optimizer import Optimizer as Optimizer
from .rmsprop import RMSPropOptimizer as RMSPropOptimizer
