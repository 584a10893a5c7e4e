"""What goes to which device: the search, and the costs of operations and copies that it goes by."""
