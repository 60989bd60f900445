"""gunicorn's settings for the empty applications: taskapi's, without its hooks and its log."""

import runpy
from pathlib import Path

from gunicorn.config import KNOWN_SETTINGS

_here = Path(__file__).parent
_names = {setting.name for setting in KNOWN_SETTINGS}

# The hooks, and the class of the logger, are for the application that isn't here.
globals().update(
    {
        name: value
        for name, value in runpy.run_path(str(_here.parents[1] / "gunicorn.conf.py")).items()
        if name in _names and not callable(value)
    }
)
pythonpath = str(_here)
