"""py-consul, told by lines what to do: `find NAME`, `pass`, `wait NAME`, `keys`, `bye`. Answers each with one line of JSON."""

import json
import sys

import consul

host, port = sys.argv[1].split(":")
name, own = sys.argv[2], int(sys.argv[3])
client = consul.Consul(host=host, port=int(port))
check = f"service:{name}-{own}"
seen = {}


def answer(value):
    print(json.dumps(value), flush=True)


def find(service, **more):
    index, rows = client.health.service(service, passing=True, **more)
    seen[service] = index
    return sorted(f"{row['Service']['Address']}:{row['Service']['Port']}" for row in rows)


def guarded(act):
    """What goes wrong while the registry is away is an answer, too."""
    try:
        return act()
    except Exception as problem:  # noqa: BLE001
        return {"error": type(problem).__name__}


client.agent.service.register(name, service_id=f"{name}-{own}", address="127.0.0.1", port=own, tags=["python"],
                              check=consul.Check.ttl("20s"))
client.agent.check.ttl_pass(check)
answer("registered")
for line in sys.stdin:
    word, *rest = line.split()
    if word == "find":
        answer(guarded(lambda: find(rest[0])))
    elif word == "pass":
        answer(guarded(lambda: client.agent.check.ttl_pass(check)))
    elif word == "wait":
        answer(guarded(lambda: find(rest[0], index=seen[rest[0]], wait="15s")))
    elif word == "keys":
        client.kv.put("from/python", "hello")
        answer([client.kv.get("from/python")[1]["Value"].decode(), client.kv.get("from/nobody")[1]])
    elif word == "bye":
        client.agent.service.deregister(f"{name}-{own}")
        answer("gone")
        break
