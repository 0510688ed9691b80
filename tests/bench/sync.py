#!/usr/bin/env python3
"""How long it takes to write a large Eureka into a Consul and a ZooKeeper, and what it costs.

    tests/bench/sync.py --bin target/dist/landfall [--services 2000] [--instances 10] [--restart 100]

Real registries from tests/estate, on free ports. Instances are registered in Eureka for real, by its REST API; they state
a Dubbo interface, so that ZooKeeper can hold them, and answer nobody. Measured: the time from the start of Landfall
until nothing is left to write, writes and their number for each record, CPU time and memory of the process; then the
same while nothing changes, and after `--restart` instances have been taken out and registered again at once.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ESTATE = HERE.parent / "estate" / "estate"
INSTANCE = f"bench-{os.getpid()}"
LONG = 86_400  # seconds; nobody renews these leases


def estate(*words):
    run = subprocess.run([ESTATE, "--instance", INSTANCE, "--for-pid", str(os.getpid()), "--lifetime", "7200", *words],
                         stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(f"estate {' '.join(words)} failed:\n{run.stdout}")
    return run.stdout


def record(service, number):
    address = f"10.{service // 250}.{service % 250}.{number + 1}"
    name = f"bench-{service:05}"
    return name, f"{address}:{name}:20880", {"instance": {
        "instanceId": f"{address}:{name}:20880", "hostName": address, "app": name.upper(), "ipAddr": address, "status": "UP",
        "port": {"$": 20880, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"}, "vipAddress": name,
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": LONG},
        "lastDirtyTimestamp": int(time.time() * 1000),
        "metadata": {"protocol": "dubbo", "interface": f"dev.bench.Service{service:05}", "methods": "get,put", "zone": "a", "team": f"t{service % 40}"},
    }}


class Eureka:
    """One connection for each thread."""

    def __init__(self, address):
        self.address, self.local = address, threading.local()

    def ask(self, method, path, body=None):
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPConnection(self.address, timeout=60)
        text = None if body is None else json.dumps(body)
        self.local.connection.request(method, path, text, {"content-type": "application/json"})
        answer = self.local.connection.getresponse()
        answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status}")

    def register(self, service, number):
        name, _, body = record(service, number)
        self.ask("POST", f"/eureka/apps/{name.upper()}", body)

    def cancel(self, service, number):
        name, ident, _ = record(service, number)
        self.ask("DELETE", f"/eureka/apps/{name.upper()}/{ident}")


def together(action, pairs):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda pair: action(*pair), pairs):
            pass


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Landfall:
    def __init__(self, binary, config, folder):
        self.admin = free_port()
        self.log = open(f"{folder}/log", "w")
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [binary, "up", "--config", config, "--data-dir", f"{folder}/data", "--admin", f"127.0.0.1:{self.admin}",
             "--workers", "1", "--access-log", "off"], stdout=self.log, stderr=self.log)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=60) as answer:
            return json.load(answer)

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024

    def targets(self):
        return {target["registry"]: target for target in self.get("/api/v1/sync")["targets"]}

    def settled(self, records, within):
        """Waits until each target has that many records as they are wanted. When each had, in seconds from the start."""
        when, end = {}, time.monotonic() + within
        while len(when) < 2:
            if time.monotonic() > end:
                sys.exit(f"not settled within {within} s: {json.dumps(self.targets(), indent=1)}")
            try:
                for name, target in self.targets().items():
                    if target["kept"] == records and target["toWrite"] == 0:
                        when.setdefault(name, time.monotonic())
            except (OSError, KeyError, ValueError):
                pass
            time.sleep(0.1)
        return when

    def writes(self):
        return {name: target["figures"]["puts"] + target["figures"]["removes"] for name, target in self.targets().items()}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bin", required=True)
    options.add_argument("--services", type=int, default=2000)
    options.add_argument("--instances", type=int, default=10)
    options.add_argument("--restart", type=int, default=100)
    options.add_argument("--rate", type=int, default=2000, help="writesPerSecond of the RegistrySync")
    options.add_argument("--within", type=int, default=1200)
    options.add_argument("--idle", type=int, default=30)
    asked = options.parse_args()
    pairs = [(service, number) for service in range(asked.services) for number in range(asked.instances)]

    estate("up", "eureka", "consul", "zookeeper", "--set", "eureka:HEAP_MB=1024", "--set", "zookeeper:HEAP_MB=512")
    ports = json.loads(estate("ports", "--json"))["parts"]
    eureka = Eureka(ports["eureka"]["address"])
    began = time.monotonic()
    together(eureka.register, pairs)
    print(f"registered {len(pairs)} instances of {asked.services} services in {time.monotonic() - began:.1f} s", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        config = f"{folder}/sync.yaml"
        Path(config).write_text(f"""\
apiVersion: landfall.dev/v1
kind: Registry
metadata: {{ name: eureka }}
spec: {{ eureka: {{ urls: ["http://{ports['eureka']['address']}/eureka"], poll: 1s }} }}
---
apiVersion: landfall.dev/v1
kind: Registry
metadata: {{ name: consul }}
spec: {{ consul: {{ address: "http://{ports['consul']['address']}" }} }}
---
apiVersion: landfall.dev/v1
kind: Registry
metadata: {{ name: zookeeper }}
spec: {{ zookeeper: {{ address: "{ports['zookeeper']['address']}" }} }}
---
apiVersion: landfall.dev/v1
kind: RegistrySync
metadata: {{ name: bench }}
spec: {{ from: [eureka], to: [consul, zookeeper], limits: {{ writesPerSecond: {asked.rate}, burst: {asked.rate} }} }}
""")
        landfall = Landfall(asked.bin, config, folder)
        try:
            when = landfall.settled(len(pairs), asked.within)
            writes = landfall.writes()
            print(f"| target | time to converge, s | writes | writes for each record |\n|---|--:|--:|--:|")
            for name, at in sorted(when.items()):
                print(f"| {name} | {at - landfall.began:.1f} | {writes[name]} | {writes[name] / len(pairs):.3f} |")
            print(f"CPU time until then {landfall.cpu():.1f} s, Pss {landfall.memory():.0f} MiB", flush=True)

            cpu = landfall.cpu()
            time.sleep(asked.idle)
            idle = {name: count - writes[name] for name, count in landfall.writes().items()}
            print(f"idle for {asked.idle} s: writes {idle}, CPU {(landfall.cpu() - cpu) / asked.idle * 100:.1f} % of a core, "
                  f"Pss {landfall.memory():.0f} MiB", flush=True)

            restarted = [(service, 0) for service in range(asked.restart)]
            before, cpu = landfall.writes(), landfall.cpu()
            together(eureka.cancel, restarted)
            together(eureka.register, restarted)
            time.sleep(15)
            landfall.settled(len(pairs), asked.within)
            after = landfall.writes()
            # Each was taken out and put back: at most one removal and one write in each target.
            for name in sorted(after):
                print(f"{asked.restart} instances restarted at once: {name} {after[name] - before[name]} writes")
            print(f"CPU {landfall.cpu() - cpu:.1f} s")
        finally:
            landfall.process.terminate()
            landfall.process.wait(30)
            estate("down")


if __name__ == "__main__":
    main()
