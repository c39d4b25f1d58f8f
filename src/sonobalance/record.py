"""Names in the record of a run, `run.json`."""

from typing import Final

RECORD: Final = "run.json"
STARTED: Final = "started"  # at work, or cut off
FINISHED: Final = "finished"
COLLAPSED: Final = "collapsed"  # a GAN without any usable generator
MOVING: Final = "moving"  # on the way to `.before-STAGE/` or back
