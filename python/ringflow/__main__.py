"""`python -m ringflow`: the command line under a launcher."""
import sys

from ringflow.launch.cli import main

sys.exit(main())
