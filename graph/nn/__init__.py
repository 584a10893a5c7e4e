"""Neural networks: functions, layers, cells, recurrent networks and losses. nn.py is ``rf.nn``."""
