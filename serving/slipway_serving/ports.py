"""TCP ports: free ones, and who holds those that are not."""

from __future__ import annotations

import errno
import socket
from pathlib import Path


def free_port(host: str) -> int:
    """A port nobody listens on now. Another process may take it a moment later."""
    with _socket(host) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def problem_with(host: str, port: int) -> str:
    """Why the port cannot be bound, in the words of "port 8000 <why>"; empty when it can."""
    try:
        with _socket(host) as probe:
            # As servers do: a port that only waits for late packets of a dead connection is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            holder = holder_of(port)
            return f"is in use by {holder}" if holder else "is in use by another process"
        if e.errno == errno.EACCES:
            return "may be bound by root only"
        if e.errno in (errno.EADDRNOTAVAIL, socket.EAI_NONAME):
            return f"cannot be bound: {host} is no address of this machine"
        return f"cannot be bound on {host} ({e.strerror})"
    return ""


def holder_of(port: int) -> str:
    """``name (pid n)`` of the process that listens on the port; empty where that cannot be seen."""
    inodes = _listening(port)
    if not inodes:
        return ""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and _holds(process, inodes):
            return f"{_name(process)} (pid {process.name})"
    return ""


def answers(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((reachable(host), port), timeout=1):
            return True
    except OSError:
        return False


def reachable(host: str) -> str:
    """Where a process on this machine reaches a server bound to ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104


def address(host: str, port: int) -> str:
    """``host:port`` for a client on this machine."""
    there = reachable(host)
    return f"[{there}]:{port}" if ":" in there else f"{there}:{port}"


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)


def _listening(port: int) -> set[str]:
    """The sockets, by inode, that listen on the port."""
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _holds(process: Path, sockets: set[str]) -> bool:
    try:
        return any(str(descriptor.readlink()) in sockets for descriptor in (process / "fd").iterdir())
    except OSError:  # another user's process, or one that has just ended
        return False


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "a process"
