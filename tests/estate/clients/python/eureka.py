"""py-eureka-client, told by lines what to do: `find NAME`, `bye`. Answers each with one line of JSON."""

import json
import logging
import sys

import py_eureka_client.eureka_client as eureka
from py_eureka_client import logger

logger.set_level("ERROR")
logging.disable(logging.WARNING)
url, name, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = eureka.init(eureka_server=url, app_name=name, instance_ip="127.0.0.1", instance_host="127.0.0.1",
                     instance_port=port, renewal_interval_in_secs=1, duration_in_secs=10,
                     metadata={"team": "python"})
print(json.dumps("registered"), flush=True)
for line in sys.stdin:
    word, *rest = line.split()
    if word == "find":
        found = client.applications.get_application(rest[0].upper())
        instances = found.up_instances if found else []
        print(json.dumps(sorted(f"{one.ipAddr}:{one.port.port}" for one in instances)), flush=True)
    elif word == "bye":
        eureka.stop()
        print(json.dumps("gone"), flush=True)
        break
