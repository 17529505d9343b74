from __future__ import annotations
import sys
from statistics import median
from typing import NamedTuple
def say(t): sys.stderr.write(t+"\n")
class Spread(NamedTuple):
    middle: float
    least: float
    most: float
    @classmethod
    def of(cls, values):
        return cls(median(values), min(values), max(values))
