"""Gradients: the backward walk, gradients of whole branches and loops, and the record of a training step."""
