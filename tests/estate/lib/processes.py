"""Processes by identity: a pid alone may belong to somebody else by the time it is used.

Linux only: identity is the pid together with its start time from /proc.
"""

import os
import signal
import subprocess
import time


def identity(pid):
    """`[pid, start time]`, or None if there is no such process (or only its zombie)."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            # The command's name is in brackets and may contain anything, so count from the last bracket.
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else [pid, int(fields[19])]


def alive(who):
    return bool(who) and identity(who[0]) == list(who)


def spawn(command, environment, log_path, folder):
    """Starts a process that outlives this one, in a group of its own, and returns its identity."""
    with open(log_path, "ab") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT, start_new_session=True)
    # It may be dead already; then there is an identity that matches nothing.
    return identity(process.pid) or [process.pid, -1]


def send(who, number):
    if alive(who):
        try:
            os.killpg(who[0], number)
        except ProcessLookupError:
            pass


def end(who, patience):
    """SIGTERM, and SIGKILL for what is still there after `patience` seconds. True if it went by itself."""
    send(who, signal.SIGTERM)
    if gone_within(who, patience):
        return True
    kill(who)
    return False


def kill(who):
    send(who, signal.SIGKILL)
    gone_within(who, 5)


def gone_within(who, seconds):
    deadline = time.monotonic() + seconds
    while alive(who):
        if time.monotonic() > deadline:
            return False
        # Reap it if it is a child of ours, otherwise it stays as a zombie as long as we run.
        try:
            os.waitpid(who[0], os.WNOHANG)
        except ChildProcessError:
            pass
        time.sleep(0.05)
    return True
