"""The simulated Vitally of the tests: the product's, on a network that may fail.

What nobody outside can know about Vitally is a switch (`switches`), what can go wrong
on the way is a fault (`network`), and each request is logged with its instants.
"""

from tests.support.vitally.simulator import Simulator

__all__ = ["Simulator"]
