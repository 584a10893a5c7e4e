"""Functions that are made of several ops: on arrays, over the first dimension, clipping, parsing."""
