"""nacos-sdk-python, told by lines what to do: `find NAME`, `beat`, `bye`. Answers each with one line of JSON.

Its HTTP API (v1) is used; it beats by itself each second.
"""

import json
import logging
import sys

import nacos

address, name, own = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = nacos.NacosClient(address, namespace="")
logging.disable(logging.CRITICAL)


def answer(value):
    print(json.dumps(value), flush=True)


def find(service):
    hosts = client.list_naming_instance(service, healthy_only=True)["hosts"]
    return sorted(f"{host['ip']}:{host['port']}" for host in hosts)


def guarded(act):
    """What goes wrong while the registry is away is an answer, too."""
    try:
        return act()
    except Exception as problem:  # noqa: BLE001
        return {"error": type(problem).__name__}


client.add_naming_instance(name, "127.0.0.1", own, cluster_name="DEFAULT", metadata={"lang": "python"},
                           heartbeat_interval=1)
answer("registered")
for line in sys.stdin:
    word, *rest = line.split()
    if word == "find":
        answer(guarded(lambda: find(rest[0])))
    elif word == "beat":
        answer(guarded(lambda: client.send_heartbeat(name, "127.0.0.1", own, cluster_name="DEFAULT")["code"]))
    elif word == "bye":
        client.remove_naming_instance(name, "127.0.0.1", own, cluster_name="DEFAULT")
        answer("gone")
        break
