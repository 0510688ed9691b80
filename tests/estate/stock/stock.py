#!/usr/bin/env python3
"""`stock`: a small HTTP service that lives in Consul.

Registers with the agent, answers every path with what it saw, and on SIGTERM deregisters first, serves on for
GRACE_MS, then ends. If the agent forgets it (restarted empty), it registers again within a second.

Settings from the environment:
  NAME         instance name, part of the service id     (stock)
  SERVICE      service name in Consul                    (stock)
  PORT         where to listen, on 127.0.0.1             (required)
  CONSUL_URL   the agent                                 (http://127.0.0.1:8500)
  CHECK        http or ttl                               (http)
  TAGS         comma list                                (estate,v1)
  META         comma list of key=value                   (version=1)
  GRACE_MS     how long to serve after deregistering     (2000)

PUT /health/pass, /health/warn or /health/fail sets what the health check says from then on.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = os.environ.get("NAME", "stock")
SERVICE = os.environ.get("SERVICE", "stock")
PORT = int(os.environ["PORT"])
CONSUL_URL = os.environ.get("CONSUL_URL", "http://127.0.0.1:8500").rstrip("/")
CHECK = os.environ.get("CHECK", "http")
TAGS = [tag for tag in os.environ.get("TAGS", "estate,v1").split(",") if tag]
META = dict(pair.split("=", 1) for pair in os.environ.get("META", "version=1").split(",") if pair)
GRACE_MS = int(os.environ.get("GRACE_MS", "2000"))

SERVICE_ID = f"{NAME}-{PORT}"
HTTP_STATUS_OF_HEALTH = {"pass": 200, "warn": 429, "fail": 503}
health = "pass"
ending = threading.Event()


def consul(method, path, body=None):
    """One call to the agent; its HTTP status, or None when nobody answered."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(CONSUL_URL + path, data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            return answer.status
    except urllib.error.HTTPError as refusal:
        return refusal.code
    except OSError:
        return None


def register():
    check = {"DeregisterCriticalServiceAfter": "1m", "Status": "passing"}
    if CHECK == "ttl":
        check["TTL"] = "3s"
    else:
        check.update(HTTP=f"http://127.0.0.1:{PORT}/health", Interval="1s", Timeout="1s")
    status = consul("PUT", "/v1/agent/service/register?replace-existing-checks=true", {
        "ID": SERVICE_ID, "Name": SERVICE, "Tags": TAGS, "Meta": {"estate": NAME, **META},
        "Address": "127.0.0.1", "Port": PORT, "Check": check,
    })
    print(f"registered {SERVICE_ID} as {SERVICE}: {status}", flush=True)


def stay_registered():
    """Each second: keep the TTL alive, and notice when the agent does not know us any more."""
    register()
    while not ending.wait(1):
        if CHECK == "ttl":
            status = consul("PUT", f"/v1/agent/check/{health}/service:{SERVICE_ID}")
        else:
            status = consul("GET", f"/v1/agent/service/{SERVICE_ID}")
        # Old agents answer 500 to the TTL of a check they do not know, newer ones 404.
        if status in (404, 500) and not ending.is_set():
            register()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        global health
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        status = 200
        if path == "/health":
            status = HTTP_STATUS_OF_HEALTH[health]
        elif self.command == "PUT" and path.startswith("/health/") and path[8:] in HTTP_STATUS_OF_HEALTH:
            health = path[8:]
        seen = {
            "service": SERVICE, "instance": NAME, "id": SERVICE_ID, "port": PORT, "health": health,
            "method": self.command, "path": path, "query": query,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body.decode("utf-8", "replace"),
        }
        payload = json.dumps(seen).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_):
        pass


def end(*_):
    # A second signal must not start this again.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=deregister_then_end).start()


def deregister_then_end():
    ending.set()
    status = consul("PUT", f"/v1/agent/service/deregister/{SERVICE_ID}")
    print(f"deregistered {SERVICE_ID}: {status}, serving on for {GRACE_MS} ms", flush=True)
    time.sleep(GRACE_MS / 1000)
    server.shutdown()


if __name__ == "__main__":
    ThreadingHTTPServer.request_queue_size = 256
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=stay_registered, daemon=True).start()
    server.serve_forever()
    sys.exit(0)
