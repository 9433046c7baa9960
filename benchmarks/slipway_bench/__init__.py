"""Measuring: result files that name the machine, the commit and the command, and compiled load generators."""

from slipway_bench.results import Result, machine, write_result

__all__ = ["Result", "machine", "write_result"]
