"""Map a function over jobs, in this process or on Ray with a bounded number in flight. The only package that imports Ray."""

from iptdata.machine import cpus
from iptdata.parallel.pool import RayPool, serial_map

__all__ = ["RayPool", "cpus", "serial_map"]
