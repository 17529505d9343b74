"""The simulated Vitally of the tests: the product's, on a network that may fail.

What nobody outside can know about Vitally is a switch (`switches`), what can go wrong
on the way is a fault (`faults`), and each request is logged with its instants
(`traffic`).
"""

from tests.support.vitally.simulator import Simulator
from tests.support.vitally.switches import Switches

__all__ = ["Simulator", "Switches"]
