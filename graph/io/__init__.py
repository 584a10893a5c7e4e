"""The reference of csrc/io: file formats in Python, which the interpreter reads and writes."""
