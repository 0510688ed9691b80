#!/usr/bin/env python3
"""CPU for a Dubbo2 call through Landfall, beside Envoy's dubbo_proxy, on the same load.

    tests/bench/install-peers.sh      # once; `install-peers.sh dubbo` for what this needs alone
    tests/bench/dubbo.py --rounds 5 --seconds 5 --json /tmp/dubbo.json

Two loads for each size of payload: R, calls at a fixed rate, the same for all, where CPU time for a call is compared; and
M, as many as each can take. The provider echoes; each answer is checked byte for byte against its own call. A run in
which one call failed, or the rate was not kept, ends without figures. README.md tells how the rest is measured.
"""

import argparse
import datetime
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import run
from run import Failed, Running, SCRATCH

LOAD = str(SCRATCH / "bin/dubbo-load")
ORIGIN_PORT = 18300
TARGETS = {
    "envoy": (18301, [str(SCRATCH / "bin/envoy"), "-c", "peers/envoy-dubbo.yaml", "--concurrency", "1",
                      "--disable-hot-restart", "-l", "error"]),
    "landfall": (18302, ["{landfall}", "up", "--config", "peers/landfall-dubbo.yaml", "--workers", "1", "--access-log", "off",
                         "--admin", "127.0.0.1:18921", "--data-dir", str(SCRATCH / "landfall-dubbo-data"), "--log", "warn"]),
    # Reads nothing and routes nothing: what the bytes alone cost.
    "haproxy-tcp": (18303, ["haproxy", "-db", "-f", "peers/haproxy-dubbo.cfg"]),
    # The provider without a proxy, for the latency that is the load's own.
    "direct": (ORIGIN_PORT, None),
}
# Payload in bytes: calls in a second of R.
SIZES = {100: 5000, 1024: 5000, 65536: 500}
ROWS = [("cpu", "CPU µs/call"), ("user", "user µs/call"), ("sys", "sys µs/call"), ("rate", "calls/s"),
        ("p50", "p50 µs"), ("p99", "p99 µs"), ("p999", "p99.9 µs"), ("busy", "core busy %")]


def name_of(size):
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"


def calls(port, size, seconds, rate):
    outstanding = OPT.outstanding if rate is None else OPT.limit
    words = [LOAD, "load", "--to", f"127.0.0.1:{port}", "--connections", str(OPT.connections),
             "--outstanding", str(outstanding), "--size", str(size), "--seconds", str(seconds)]
    result = json.loads(run.load(words + ([] if rate is None else ["--rate", str(rate)]), seconds))
    if result["requests"] == 0:
        raise Failed(f"port {port}: no calls")
    return result


def ready(name, port):
    """Waits until calls are answered: a proxy listens before it knows its endpoints."""
    end = time.monotonic() + 15
    while True:
        try:
            return calls(port, 100, 0.1, 100)
        except Failed as error:
            if time.monotonic() > end:
                raise Failed(f"{name} does not answer: {error}; see {SCRATCH}/dubbo-{name}.out")
            time.sleep(0.1)


def measured(name, size, rate):
    port, command = TARGETS[name]

    def work():
        result = calls(port, size, OPT.seconds, rate)
        if rate is not None and result["rate"] < 0.98 * rate:
            raise Failed(f"{name}, {name_of(size)}: {result['rate']:.0f} calls/s where {rate} were due")
        return result

    if command is None:
        calls(port, size, 1, rate)
        return work()
    command = [word.replace("{landfall}", str(pathlib.Path(OPT.landfall).resolve())) for word in command]
    with Running(f"dubbo-{name}", command, OPT.proxy_core, port) as server:
        ready(name, port)
        calls(port, size, 1, rate)
        return run.with_cpu(server, work)


def medians(samples, key, metric):
    values = {}
    for name in {name for (_, name) in samples}:
        found = [sample[metric] for sample in samples.get((key, name), []) if metric in sample]
        if found:
            values[name] = statistics.median(found)
    return values


def table(samples, keys, names):
    lines = ["| load | payload | metric | " + " | ".join(names) + " |", "|---|---|---|" + "---:|" * len(names)]
    for key in keys:
        for metric, label in ROWS:
            values = medians(samples, key, metric)
            cells = []
            for name in names:
                if name not in values:
                    cells.append("–")
                    continue
                text = f"{values[name]:.0f}" if values[name] >= 1000 else f"{values[name]:.1f}"
                if values.get(OPT.ref):
                    text += f" (×{values[name] / values[OPT.ref]:.2f})"
                cells.append(text)
            lines.append(f"| {key[0]} | {name_of(key[1])} | {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    names = OPT.targets.split(",")
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        raise Failed(f"unknown targets: {', '.join(unknown)}")
    for needed in [LOAD] + [TARGETS[name][1][0] for name in names if TARGETS[name][1]]:
        if not shutil.which(needed.replace("{landfall}", OPT.landfall)):
            raise Failed(f"{needed.replace('{landfall}', OPT.landfall)} is missing: run install-peers.sh")
    rates = dict(SIZES)
    if OPT.rate:
        rates = {size: OPT.rate for size in SIZES}
    keys = [(load, size) for load in OPT.loads for size in map(int, OPT.sizes.split(","))]
    for load, size in keys:
        if load not in "RM" or size not in rates:
            raise Failed(f"loads are R and M, sizes {', '.join(map(str, SIZES))}")
    samples = {}
    began = datetime.datetime.now()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with Running("dubbo-origin", [LOAD, "serve", f"127.0.0.1:{ORIGIN_PORT}"], OPT.load_core, ORIGIN_PORT):
        for turn in range(OPT.rounds):
            # Nobody is always the first after a pause, or always after the same other.
            order = names[turn % len(names):] + names[:turn % len(names)]
            for key in keys:
                for name in order:
                    result = measured(name, key[1], rates[key[1]] if key[0] == "R" else None)
                    samples.setdefault((key, name), []).append(result)
                    print(f"round {turn + 1} {key[0]} {name_of(key[1])} {name}: " + " ".join(
                        f"{k}={v:.1f}" for k, v in result.items()), file=sys.stderr, flush=True)
    asked = ", ".join(f"{name_of(size)} {rates[size]}/s" for size in map(int, OPT.sizes.split(",")))
    print(f"\n{began:%Y-%m-%d %H:%M}, medians of {OPT.rounds} rounds of {OPT.seconds} s, {OPT.connections} connections; "
          f"R: {asked}; M: {OPT.outstanding} calls in flight on each; × = relative to {OPT.ref}\n")
    print(table(samples, keys, names))
    if OPT.json:
        pathlib.Path(OPT.json).write_text(json.dumps(
            [{"load": key[0], "payload": key[1], "target": name, "asked": rates[key[1]] if key[0] == "R" else None,
              "rounds": rounds} for (key, name), rounds in samples.items()], indent=1))
    too_much = []
    for key in keys:
        cpu = medians(samples, key, "cpu")
        if key[0] == "R" and "landfall" in cpu and cpu.get("envoy"):
            ratio = cpu["landfall"] / cpu["envoy"]
            print(f"\nCPU for a call of {name_of(key[1])}: Landfall needs ×{ratio:.2f} of Envoy's")
            if OPT.at_most is not None and ratio > OPT.at_most:
                too_much.append(name_of(key[1]))
    if too_much:
        raise Failed(f"more than ×{OPT.at_most} of Envoy's: {', '.join(too_much)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default="envoy,landfall,haproxy-tcp,direct")
    parser.add_argument("--loads", default="RM", help="R: fixed rate, M: maximum")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="bytes of payload")
    parser.add_argument("--rate", type=int, help="calls/s of R for every size; else " + ", ".join(
        f"{rate} at {name_of(size)}" for size, rate in SIZES.items()))
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--outstanding", type=int, default=16, help="calls in flight on each connection, in M")
    parser.add_argument("--limit", type=int, default=1024, help="the same in R, where it should never be reached")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="length of one measurement")
    parser.add_argument("--ref", default="envoy", help="the target that ratios are taken against")
    parser.add_argument("--at-most", type=float, help="fail if Landfall needs more than this share of Envoy's CPU in R")
    parser.add_argument("--landfall", default=str(SCRATCH / "bin/landfall"), help="the binary")
    parser.add_argument("--proxy-core", default="0")
    parser.add_argument("--load-core", default="1", help="provider and load; a taskset list")
    parser.add_argument("--json", help="also write every round's numbers to this file")
    OPT = run.OPT = parser.parse_args()
    try:
        main()
    except (Failed, subprocess.SubprocessError) as error:
        sys.exit(f"error: {error}")
