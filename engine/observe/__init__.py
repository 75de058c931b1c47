"""What there is to see: health, panes, usage, and why.

Everything here reads. The console takes from here what makes foreign text safe and numbers exact; importing
this package alone costs next to nothing, its modules are imported where they are used.
"""

from engine.figures import exact
from engine.text import csv_cell, one_line, safe_json, sanitise

__all__ = ["csv_cell", "exact", "one_line", "safe_json", "sanitise"]
