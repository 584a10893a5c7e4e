"""Generated protobuf code of graph.proto (make proto)."""
