"""The health of one GPU: evidence in, state and reason out. Pure, with time passed in.

xids.py        what each error code of the driver means
recovery.py    what each recovery action of the driver means
conditions.py  what one reading shows by itself
trends.py      what several readings show: heat, errors that grow, links that were there before
finding.py     what is known against a GPU, and what ends it
machine.py     all of it together: the states and when they change
"""

from arbora_agent.gpu.health.machine import HealthMachine, Verdict

__all__ = ["HealthMachine", "Verdict"]
