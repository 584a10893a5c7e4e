"""The graph layer alone: no compiled module, no MPI."""
import pathlib
import subprocess
import sys

GRAPH = pathlib.Path(__file__).resolve().parents[2] / "graph"

PROGRAM = f"""
import importlib.util, sys, types

package = types.ModuleType("ringflow")
package.__path__ = []
sys.modules["ringflow"] = package
for blocked in ("ringflow._core", "ringflow._mpi", "mpi4py"):
    sys.modules[blocked] = None
spec = importlib.util.spec_from_file_location("ringflow.graph", {str(GRAPH / '__init__.py')!r},
                                              submodule_search_locations=[{str(GRAPH)!r}])
graph = sys.modules["ringflow.graph"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(graph)

import ringflow.graph.api as rf

x = rf.placeholder(rf.float32, [None, 3])
w = rf.Variable([[1.0], [2.0], [3.0]])
loss = rf.reduce_mean(rf.square(rf.matmul(x, w)))
g, = rf.gradients(loss, w)
with rf.Session() as session:
    session.run(rf.global_variables_initializer())
    print(session.run(g, {{x: [[1, 1, 1]]}}).tolist())
"""


def test_graphs_are_built_differentiated_and_run_by_numpy_alone():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[[12.0], [12.0], [12.0]]"
