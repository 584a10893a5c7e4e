"""What kernels may use of the processor, set once from the configuration when ringflow is imported."""
from ringflow import _core
from ringflow.graph import config

_core.limit_isa(config.get("RINGFLOW_ISA"))
_core.set_intra_op_threads(config.intra_op_threads())


def isa() -> str:
    """The widest vector instructions in use: "avx512", "avx2" or "baseline"."""
    return _core.isa()
