"""`python -m bridge`: the command line."""

import os
import signal
import sys

if __name__ == "__main__" and sys.argv[1:2] in (["serve"], ["run"]):
    # A platform may stop it before everything is imported; nothing has to be finished then.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

from bridge.cli import main

if __name__ == "__main__":
    main()
