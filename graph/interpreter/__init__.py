"""The reference: runs any graph by the NumPy references of its op definitions, one node after the other."""
from .interpreter import Interpreter as Interpreter, Ref as Ref, State as State, evaluate as evaluate
