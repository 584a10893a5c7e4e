"""The examples in docstrings give what they say."""
import doctest
import importlib
import pkgutil

import pytest
import ringflow as rf
from ringflow.graph import ops

MODULES = ["ringflow.graph.nn.neural", "ringflow.graph.nest",
           *(f"ringflow.graph.control_flow.{name}" for name in ("cond", "case", "while_loop")),
           *(f"ringflow.graph.ops.{m.name}" for m in pkgutil.iter_modules(ops.__path__))]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    with rf.Graph().as_default():
        failures, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failures == 0
