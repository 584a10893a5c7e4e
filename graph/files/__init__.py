"""Graphs outside of a program: GraphDef and MetaGraphDef, in files and as bytes, the ops that they name, and text."""
