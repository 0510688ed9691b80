"""One running estate: its folder, its state file, and everything that is done to its parts.

    ${TMPDIR:-/tmp}/landfall-estate-<instance>/
        state.json        ports, process identities and settings of each part; who watches, and until when
        lock              held by the one command that changes something
        <name>.log        output of a part
        <name>/           data of a part

Whoever changes something holds the lock and writes the state before going on, so that a command that is
interrupted at any point leaves nothing running that `down` would not find.
"""

import contextlib
import fcntl
import json
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

from lib import cache, processes
from lib.applications import APPLICATIONS, NOT_READY_YET, REGISTRIES, Part, application_of
from lib.cache import Failed, say

READY_WITHIN = 180      # seconds; a slow machine that also compiles needs most of it
STOPPED_WITHIN = 20
# Below the range the system hands out for outgoing connections, so a stopped part finds its port free again.
PORT_RANGE = range(20000, 32000)


class Estate:
    def __init__(self, instance):
        self.instance = instance
        self.folder = Path(tempfile.gettempdir()) / f"landfall-estate-{instance}"
        self.state = {"parts": {}, "watch": {}}
        self.load()

    # --- state

    def load(self):
        with contextlib.suppress(FileNotFoundError):
            self.state = json.loads((self.folder / "state.json").read_text())

    def save(self):
        new = self.folder / "state.json.new"
        new.write_text(json.dumps(self.state, indent=1) + "\n")
        new.rename(self.folder / "state.json")

    @contextlib.contextmanager
    def locked(self):
        while True:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            lock = open(self.folder / "lock", "w")
            fcntl.flock(lock, fcntl.LOCK_EX)
            # `down` removes the folder, and this may be the lock file of the one that was removed.
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(lock.fileno()).st_ino == os.stat(self.folder / "lock").st_ino:
                    break
            lock.close()
        with lock:
            self.state = {"parts": {}, "watch": {}}
            self.load()
            yield

    def names(self):
        return list(self.state["parts"])

    def running(self, name):
        return processes.alive(self.state["parts"][name].get("process"))

    def known(self, name):
        if name not in self.state["parts"]:
            raise Failed(f"`{name}` is not part of estate `{self.instance}`; `estate up {name}` makes it one")
        return self.state["parts"][name]

    def port_of(self, name):
        """The main port of a part; None if it is not (yet) part of this estate."""
        part = self.state["parts"].get(name)
        return part and part["ports"][APPLICATIONS[application_of(name)].ports[0]]

    def part(self, name):
        recorded = self.state["parts"][name]
        part = Part(name, recorded["ports"], str(self.folder / name), {})
        application = APPLICATIONS[part.application]
        environment = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TZ", "JAVA_HOME") if key in os.environ}
        environment["NAME"] = name
        environment.update({f"PORT_{port.upper()}": str(number) for port, number in part.ports.items()})
        environment["PORT"] = str(part.port)
        environment.update(application.environment(part, self))
        environment.update(recorded["settings"])
        part.environment = environment
        return part

    def log(self, name):
        return self.folder / f"{name}.log"

    # --- what the commands do (each with the lock held)

    def up(self, names, settings, with_needs=True):
        """Starts what does not run yet, each as soon as its registry is ready, and waits for all."""
        wanted = in_order(names, with_needs)
        cache.build(sorted({application_of(name) for name in wanted}))
        if any(application_of(name) not in ("stock", "consul") for name in wanted):
            cache.require("java")
        for name in wanted:
            self.prepare(name, settings)
        self.save()
        waiting, started, ready = list(wanted), {}, set()
        while len(ready) < len(wanted):
            for name in list(waiting):
                # Only registries have to be there first. `shop` starts beside `orders`, and is ready after it.
                needs = {need for need in APPLICATIONS[application_of(name)].needs if need in wanted and need in REGISTRIES}
                if needs <= ready:
                    waiting.remove(name)
                    started[name] = time.monotonic()
                    if not self.running(name):
                        self.spawn(name)
            for name in started:
                if name not in ready and self.is_ready(name, time.monotonic() - started[name]):
                    ready.add(name)
                    say(f"{name} is ready after {time.monotonic() - started[name]:.1f} s")
            time.sleep(0.2)

    def prepare(self, name, settings):
        application = application_of(name)
        mine = {key: value for target, key, value in settings if target in (name, application)}
        recorded = self.state["parts"].get(name)
        if recorded is None:
            self.state["parts"][name] = {"ports": self.free_ports(APPLICATIONS[application]), "settings": mine}
        elif mine and {**recorded["settings"], **mine} != recorded["settings"]:
            if self.running(name):
                raise Failed(f"{name} is running with other settings; stop it first")
            recorded["settings"].update(mine)

    def spawn(self, name):
        part = self.part(name)
        Path(part.data).mkdir(exist_ok=True)
        command = APPLICATIONS[part.application].command(part)
        self.state["parts"][name]["process"] = processes.spawn(command, part.environment, self.log(name), part.data)
        self.save()

    def is_ready(self, name, waited):
        if not self.running(name):
            raise Failed(f"{name} ended while starting; the end of its log:\n" + self.end_of_log(name))
        if self.expired():
            raise Failed("nobody is waiting for this estate any more")
        try:
            part = self.part(name)
            if APPLICATIONS[part.application].ready(part):
                return True
        except NOT_READY_YET:
            pass
        if waited > READY_WITHIN:
            raise Failed(f"{name} was not ready after {READY_WITHIN} s; the end of its log:\n" + self.end_of_log(name))
        return False

    def stop(self, name):
        if not processes.end(self.known(name).get("process"), STOPPED_WITHIN):
            say(f"{name} did not stop within {STOPPED_WITHIN} s and was killed")

    def kill(self, name):
        processes.kill(self.known(name).get("process"))

    def wipe(self, name):
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def forget(self, names):
        """Stops these parts in good order and gives their ports back."""
        for name in sorted(names, key=lambda name: application_of(name) in REGISTRIES):
            self.stop(name)
            self.wipe(name)
            self.log(name).unlink(missing_ok=True)
            del self.state["parts"][name]
            self.save()

    def end(self):
        """Everything at once, and without good-byes: nothing of it is needed any more."""
        everyone = [recorded.get("process") for recorded in self.state["parts"].values()]
        watching = self.state["watch"].get("process")
        if watching and watching[0] != os.getpid():
            everyone.append(watching)
        for who in everyone:
            processes.send(who, processes.signal.SIGKILL)
        for who in everyone:
            processes.gone_within(who, 5)
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- the watch

    def watch(self, for_pid, lifetime):
        """Makes sure that somebody ends this estate when `for_pid` is gone or its time is over."""
        watch = self.state["watch"]
        if for_pid is not None:
            watch["for"] = processes.identity(for_pid)
            if watch["for"] is None:
                raise Failed(f"there is no process {for_pid} to start an estate for")
        if lifetime is not None or not watch.get("until"):
            watch["until"] = time.time() + (3600 if lifetime is None else lifetime)
        if not processes.alive(watch.get("process")):
            self.save()
            command = [sys.executable, str(cache.HOME / "estate"), "--instance", self.instance, "_watch"]
            watch["process"] = processes.spawn(command, dict(os.environ), self.folder / "watch.log", "/")
        self.save()

    def expired(self):
        watch = self.state["watch"]
        return time.time() > watch.get("until", 0) or ("for" in watch and not processes.alive(watch["for"]))

    def keep_watch(self):
        """The life of the watching process. It also ends when the estate has been ended by somebody else."""
        while True:
            time.sleep(0.5)
            if not (self.folder / "state.json").exists():
                return
            self.load()
            if self.expired():
                with self.locked():
                    # Somebody may have extended the time, or ended it, while we waited for the lock.
                    if not self.state["watch"]:
                        shutil.rmtree(self.folder, ignore_errors=True)
                        return
                    if self.expired():
                        self.end()
                        return

    # --- small things

    def end_of_log(self, name):
        try:
            return cache.last_lines(self.log(name).read_text(errors="replace"))
        except FileNotFoundError:
            return "(no log)"

    def free_ports(self, application):
        taken = set()
        for state in self.folder.parent.glob("landfall-estate-*/state.json"):
            with contextlib.suppress(OSError, ValueError):
                for part in json.loads(state.read_text())["parts"].values():
                    taken.update(part["ports"].values())
        for part in self.state["parts"].values():
            taken.update(part["ports"].values())
        ports = {}
        for name in application.ports:
            if name in application.offsets:
                continue
            # The ports that follow from the first have to be free with it.
            along = application.offsets.values() if name == application.ports[0] else []
            ports[name] = next(port for port in iter(lambda: random.choice(PORT_RANGE), None)
                               if all(other not in taken and is_free(other)
                                      for other in (port, *(port + offset for offset in along))))
            taken.add(ports[name])
        for name, offset in application.offsets.items():
            ports[name] = ports[application.ports[0]] + offset
            taken.add(ports[name])
        return ports


def is_free(port):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def in_order(names, with_needs):
    """The names with what they need in front, each once."""
    order = []

    def add(name):
        if with_needs:
            for need in APPLICATIONS[application_of(name)].needs:
                add(need)
        if name not in order:
            order.append(name)

    for name in names:
        add(name)
    return order
