"""The simulator: a local Vitally, warts included, for tests, the demo and trials.

What is known about Vitally is fixed here; what nobody outside can know is a switch
(`Switches`); what can go wrong on the way is a fault (`faults`).
"""

from bridge.vitally.simulator.server import Simulator
from bridge.vitally.simulator.switches import Switches

__all__ = ["Simulator", "Switches"]
