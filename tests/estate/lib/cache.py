"""Builds what an application runs from, once, into the cache.

    <cache>/estate/<application>-<hash of its sources>/

The hash covers everything that decides the outcome, so a present folder is always right and is never built again.
A build goes to a folder of its own first and is renamed when complete: an interrupted one leaves nothing half done.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("LANDFALL_CACHE") or Path.home() / ".cache" / "landfall") / "estate"
CONSUL_MODULE = "github.com/hashicorp/consul"

DEBIAN_PACKAGE_OF = {"java": "openjdk-17-jdk-headless", "javac": "openjdk-17-jdk-headless", "mvn": "maven",
                     "go": "golang-go", "node": "nodejs", "npm": "npm"}


# Applications that are another main class of a module that is named after somebody else.
MODULE_OF = {"caller3": "dubbo3", "caller27": "dubbo27", "caller26": "dubbo26"}

# Programs that are run and end; they are no modules of the parent, so that a new one leaves the applications' builds as they are.
TOOLS = ["hessian"]

# An application that is no module of the parent either, for the same reason.
APART = ["dubbo26"]

# Applications in other languages, each in a folder of its own.
IN_GO = ["callergo"]
IN_NODE = ["callernode"]


class Failed(Exception):
    """Something did not work; the text says what, for the person who asked."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def built(application):
    """Where the built application is (or will be): a folder, or None if nothing is built for it."""
    application = MODULE_OF.get(application, application)
    sources = _sources_of(application)
    if not sources:
        return None
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(str(path.relative_to(HOME)).encode() + b"\0" + path.read_bytes() + b"\0")
    return CACHE / f"{application}-{digest.hexdigest()[:16]}"


def build(applications):
    """Builds what is missing. Two estates that want the same thing wait for each other."""
    applications = sorted({MODULE_OF.get(application, application) for application in applications})
    if not any(_missing(application) for application in applications):
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "build.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is running, waiting for it…")
            fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [application for application in applications if _missing(application)]
        jvm = [application for application in missing if application not in ("consul", *IN_GO, *IN_NODE)]
        if jvm:
            _build_jvm(jvm)
        if "consul" in missing:
            _build_consul()
        for application in missing:
            if application in IN_GO:
                _build_go(application)
            if application in IN_NODE:
                _build_node(application)


def require(tool):
    """Sees to it that a tool is installed; as root it may install it."""
    if shutil.which(tool):
        return
    package = DEBIAN_PACKAGE_OF[tool]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Failed(f"`{tool}` is missing: install the package {package} (Debian, Ubuntu) or its like")
    say(f"`{tool}` is missing: installing {package} with apt-get…")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "-y", "install", package]):
        run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode != 0:
            raise Failed(f"`{' '.join(command)}` failed:\n" + last_lines(run.stdout))
    if not shutil.which(tool):
        raise Failed(f"{package} is installed, but there is still no `{tool}`")


def last_lines(text, count=20):
    return "\n".join(text.rstrip().splitlines()[-count:])


def _sources_of(application):
    if application == "consul":
        return [HOME / "consul" / "go.mod", HOME / "consul" / "go.sum"]
    if application in IN_GO + IN_NODE:
        return [path for path in (HOME / application).iterdir() if path.is_file()]
    module = HOME / "java" / application
    if not module.is_dir():
        return []
    return [HOME / "java" / "pom.xml", *(path for path in module.rglob("*") if path.is_file())]


def _missing(application):
    target = built(application)
    return target is not None and not target.is_dir()


def _build_jvm(applications):
    require("java")
    require("javac")
    require("mvn")
    first = "" if any(CACHE.glob("zookeeper-*")) else " (first time: downloads about 150 MB, about 2 minutes)"
    say(f"building {', '.join(applications)} with Maven{first}…")
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="building-") as output:
        # The tests of the estate are the tests that use it, so there are none here to run.
        modules = [application for application in applications if application not in TOOLS + APART]
        if modules:
            _run(["mvn", "-q", "-B", "-f", str(HOME / "java" / "pom.xml"), f"-Destate.out={output}",
                  "-pl", ",".join(modules), "package"], HOME / "java")
        for alone in set(applications) - set(modules):
            _run(["mvn", "-q", "-B", "-f", str(HOME / "java" / alone / "pom.xml"), f"-Destate.out={output}", "package"],
                 HOME / "java")
        for application in applications:
            (Path(output) / application).rename(built(application))


def _build_consul():
    require("go")
    say("building consul with Go (first time about 5 minutes on two cores)…")
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="building-") as output:
        _run(["go", "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", f"{output}/consul/consul",
              CONSUL_MODULE], HOME / "consul")
        (Path(output) / "consul").rename(built("consul"))


def _build_go(application):
    require("go")
    say(f"building {application} with Go (first time about a minute on two cores)…")
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="building-") as output:
        _run(["go", "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", f"{output}/{application}/{application}", "."],
             HOME / application)
        (Path(output) / application).rename(built(application))


def _build_node(application):
    require("node")
    require("npm")
    say(f"installing what {application} needs with npm…")
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="building-") as output:
        folder = Path(output) / application
        folder.mkdir()
        for path in _sources_of(application):
            shutil.copy(path, folder)
        _run(["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        folder.rename(built(application))


def _run(command, folder):
    started = time.monotonic()
    run = subprocess.run(["nice", *command], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    if run.returncode != 0:
        raise Failed(f"`{' '.join(command[:2])}` failed:\n" + last_lines(run.stdout))
    say(f"  done in {time.monotonic() - started:.0f} s")
