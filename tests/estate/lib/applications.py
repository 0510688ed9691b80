"""The applications of the estate: what each needs, how it is started, and when it is really ready.

A `Part` is one running thing with a name (`orders-2`); an `Application` is what it is an instance of (`orders`).
"""

import base64
import glob
import json
import os
import re
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Callable

from lib import cache
from lib.zookeeper_client import NoNode, ZooKeeper, four_letters

GREETING = "dev.landfall.estate.GreetingService"
LEGACY_GREETING = "dev.landfall.estate.LegacyGreetingService"

JVM = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xss512k", "-XX:-UsePerfData",
       "-Djava.net.preferIPv4Stack=true", "-Dfile.encoding=UTF-8"]


@dataclass
class Application:
    ports: list                         # the first one is where a client would go
    command: Callable                   # (part) -> argv
    ready: Callable                     # (part) -> bool; an OSError or a missing node counts as "not yet"
    needs: list = field(default_factory=list)
    environment: Callable = lambda part, estate: {}
    offsets: dict = field(default_factory=dict)     # ports that are bound to the first one by the application itself


@dataclass
class Part:
    name: str
    ports: dict
    data: str                           # a folder of its own, kept over restarts unless it is wiped
    environment: dict                   # what it is started with, settings from the command line included

    @property
    def application(self):
        return application_of(self.name)

    @property
    def port(self):
        return self.ports[APPLICATIONS[self.application].ports[0]]


def application_of(name):
    """`orders-2` is an instance of `orders`. Raises KeyError for a name nobody knows."""
    base = re.sub(r"-[1-9][0-9]*$", "", name)
    if base not in APPLICATIONS:
        raise KeyError(name)
    return base


# --- how they are started

def java(application, main_class, heap_mb, *options):
    def command(part):
        folder = cache.built(application)
        arguments, options_here, first = [], [], ""
        if application == "zookeeper":
            arguments = [write_zookeeper_config(part)]
        if application == "nacos":
            # Two of its jars hold the same classes (com.caucho.hessian); Nacos works with those of the one by that name,
            # and with others of the second.
            first = "".join(f"{jar}:" for jar in glob.glob(f"{folder}/lib/hessian-4*.jar"))
            # Everything it keeps, its logs included; and it asks nobody for its own address.
            arguments = [f"--spring.config.additional-location=file:{write_nacos_config(part)}"]
            options_here = [f"-Dnacos.home={part.data}", "-Dnacos.standalone=true", "-Dnacos.server.ip=127.0.0.1",
                            f"-Dderby.stream.error.file={part.data}/derby.log"]
        # user.home: Dubbo keeps files there. tmpdir: so does Tomcat, and a killed one does not clean up.
        return [*JVM, f"-Xmx{part.environment.get('HEAP_MB', heap_mb)}m", f"-Duser.home={part.data}", f"-Djava.io.tmpdir={part.data}", *options, *options_here, "-cp", f"{first}{folder}/lib/*", main_class, *arguments]
    return command


def write_zookeeper_config(part):
    path = f"{part.data}/zoo.cfg"
    with open(path, "w") as config:
        # Ticks of half a second allow sessions from one second up, so a killed provider is gone soon.
        config.write(f"""\
dataDir={part.data}/data
clientPort={part.port}
clientPortAddress=127.0.0.1
tickTime=500
minSessionTimeout=1000
maxSessionTimeout=60000
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=ruok,srvr,stat,mntr,cons,dump,wchs
""")
    return path


def write_nacos_config(part):
    os.makedirs(f"{part.data}/conf", exist_ok=True)
    with open(f"{part.data}/conf/application.properties", "w") as config:
        # The key signs the tokens of this one server.
        config.write(f"""\
server.port={part.port}
server.address=127.0.0.1
server.servlet.contextPath=/nacos
server.error.include-message=ON_PARAM
server.tomcat.basedir={part.data}
server.tomcat.threads.max=32
nacos.core.auth.system.type=nacos
nacos.core.auth.enabled={part.environment.get("AUTH", "false")}
nacos.core.auth.server.identity.key=estate
nacos.core.auth.server.identity.value=estate
nacos.core.auth.plugin.nacos.token.expire.seconds={part.environment.get("TOKEN_SECONDS", "18000")}
nacos.core.auth.plugin.nacos.token.secret.key=bGFuZGZhbGwtZXN0YXRlLWxhbmRmYWxsLWVzdGF0ZS1rZXk=
nacos.core.protocol.raft.data.core_thread_num=2
nacos.core.protocol.raft.data.cli_service_thread_num=1
# Making its database takes longer than the usual 3 s on a busy machine; then the server would end.
db.pool.config.connectionTimeout=60000
management.metrics.export.elastic.enabled=false
management.metrics.export.influx.enabled=false
spring.jmx.enabled=false
""")
    return f"{part.data}/conf/"


def consul(part):
    root = part.environment.get("ROOT_TOKEN")
    acl = {"enabled": True, "default_policy": "deny", "tokens": {"initial_management": root, "agent": root}}
    config = {
        "server": True, "bootstrap_expect": 1, "node_name": part.name, "data_dir": f"{part.data}/data",
        "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "advertise_addr": "127.0.0.1",
        "ports": {"http": part.ports["http"], "server": part.ports["server"], "serf_lan": part.ports["serf"],
                  "serf_wan": -1, "dns": -1, "grpc": -1, "grpc_tls": -1, "https": -1},
        "performance": {"raft_multiplier": 1}, "connect": {"enabled": False}, "peering": {"enabled": False},
        "disable_update_check": True, "disable_remote_exec": True, "log_level": "info",
        **({"acl": acl} if root else {}),
    }
    path = f"{part.data}/consul.json"
    with open(path, "w") as file:
        json.dump(config, file, indent=1)
    return [f"{cache.built('consul')}/consul", "agent", "-config-file", path]


def stock(part):
    return [sys.executable, str(cache.HOME / "stock" / "stock.py")]


def callergo(part):
    return [f"{cache.built('callergo')}/callergo"]


def callernode(part):
    return ["node", f"{cache.built('callernode')}/caller.js"]


# --- when they are ready

# Nothing here is ever behind a proxy, whatever the environment says.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url, **headers):
    request = urllib.request.Request(url, headers={"Accept": "application/json", **headers})
    with DIRECT.open(request, timeout=5) as answer:
        return answer.read().decode()


def eureka_ready(part):
    login = base64.b64encode(part.environment.get("LOGIN", "").encode()).decode()
    get(f"http://127.0.0.1:{part.port}/eureka/apps", Authorization=f"Basic {login}")
    return True


def in_eureka(part):
    """Eureka shows this instance as UP on the list that clients fetch."""
    applications = json.loads(get(part.environment["EUREKA_URL"].rstrip("/") + "/apps"))["applications"]["application"]
    return any(instance["port"]["$"] == part.port and instance["status"] == "UP"
               for application in applications for instance in application["instance"])


def orders_ready(part):
    get(f"http://127.0.0.1:{part.port}/orders")
    return in_eureka(part)


def shop_ready(part):
    # Told to call something else, it may be there before what it calls.
    get(f"http://127.0.0.1:{part.port}/shop/" + ("ready" if "CALLS" in part.environment else "orders"))
    return in_eureka(part)


def market_ready(part):
    get(f"http://127.0.0.1:{part.port}/market/ready")
    return passing(part, part.environment.get("SERVICE", "market"))


def wharf_ready(part):
    get(f"http://127.0.0.1:{part.port}/wharf/ready")
    asked = urllib.parse.urlencode({"serviceName": part.environment.get("SERVICE", "wharf")})
    hosts = json.loads(get(f"http://{part.environment['NACOS']}/nacos/v1/ns/instance/list?{asked}"))["hosts"]
    return any(host["port"] == part.port for host in hosts)


def caller_ready(part):
    return get(f"http://127.0.0.1:{part.port}/ready") == "yes"


def consul_ready(part):
    base = f"http://127.0.0.1:{part.port}/v1"
    token = {"X-Consul-Token": part.environment.get("ROOT_TOKEN", "")}
    # The leader's own node is in the catalog only after its first sync.
    return (json.loads(get(f"{base}/status/leader")) != ""
            and "consul" in json.loads(get(f"{base}/catalog/services", **token)))


def passing(part, service):
    entries = json.loads(get(part.environment["CONSUL_URL"] + f"/v1/health/service/{service}?passing"))
    return any(entry["Service"]["Port"] == part.port for entry in entries)


def stock_ready(part):
    return passing(part, part.environment.get("SERVICE", "stock"))


def zookeeper_ready(part):
    if four_letters(part.port, "ruok") != "imok":
        return False
    with ZooKeeper(part.port) as client:
        return "zookeeper" in client.children("/")


def providers(client, interface):
    return [urllib.parse.unquote(node) for node in client.children(f"/dubbo/{interface}/providers")]


def is_at(url, scheme, port):
    address = urllib.parse.urlsplit(url)
    return address.scheme == scheme and address.port == port


def dubbo3_ready(part):
    """Both levels, unless REGISTER_MODE asks for one of them."""
    mode = part.environment.get("REGISTER_MODE", "all")
    dubbo, triple = part.ports["dubbo"], part.ports["tri"]
    registry = urllib.parse.urlsplit(part.environment.get("REGISTRY", ""))
    if registry.scheme == "nacos":
        version, group = (part.environment.get(name, "") for name in ("VERSION", "GROUP"))
        asked = urllib.parse.urlencode({"serviceName": f"providers:{GREETING}:{version}:{group}"})
        hosts = json.loads(get(f"http://{registry.netloc}/nacos/v1/ns/instance/list?{asked}"))["hosts"]
        return {dubbo, triple} <= {host["port"] for host in hosts}
    with ZooKeeper(zookeeper_port(part)) as client:
        if mode != "instance":
            known = providers(client, GREETING)
            for scheme, port in (("dubbo", dubbo), ("tri", triple)):
                if not any(is_at(url, scheme, port) for url in known):
                    return False
        if mode != "interface":
            application = part.environment.get("APPLICATION", "greeting-provider")
            instances = client.children(f"/services/{application}")
            return application in client.data(f"/dubbo/mapping/{GREETING}").split(",") and any(
                instance.endswith((f":{dubbo}", f":{triple}")) for instance in instances)
    return True


def dubbo27_ready(part):
    with ZooKeeper(zookeeper_port(part)) as client:
        return any(is_at(url, "dubbo", part.port) for url in providers(client, LEGACY_GREETING))


def zookeeper_port(part):
    return int(part.environment["ZOOKEEPER"].rsplit(":", 1)[1])


def nacos_ready(part):
    """It answers, and takes writes (a listing that a node without a leader would refuse)."""
    base = f"http://127.0.0.1:{part.port}/nacos"
    if part.environment.get("AUTH") == "true":
        login = urllib.parse.urlencode({"username": "nacos", "password": "nacos"}).encode()
        with DIRECT.open(f"{base}/v1/auth/login", data=login, timeout=5) as answer:
            return "accessToken" in json.loads(answer.read())
    json.loads(get(f"{base}/v1/ns/service/list?pageNo=1&pageSize=1"))
    with socket.create_connection(("127.0.0.1", part.ports["grpc"]), 2):
        return True


def parts_ready(part):
    get(f"http://127.0.0.1:{part.port}/")
    environment = part.environment
    if environment.get("REGISTER") == "false" or environment.get("ENABLED") == "false":
        return True
    asked = {"serviceName": environment.get("SERVICE", "parts"), "groupName": environment.get("GROUP", "DEFAULT_GROUP"),
             "namespaceId": environment.get("NAMESPACE", "")}
    if environment.get("NACOS_USER"):
        login = urllib.parse.urlencode({"username": environment["NACOS_USER"], "password": environment["NACOS_PASSWORD"]})
        with DIRECT.open(f"http://{environment['NACOS']}/nacos/v1/auth/login", data=login.encode(), timeout=5) as answer:
            asked["accessToken"] = json.loads(answer.read())["accessToken"]
    url = f"http://{environment['NACOS']}/nacos/v1/ns/instance/list?{urllib.parse.urlencode(asked)}"
    return any(host["port"] == part.port for host in json.loads(get(url))["hosts"])


NOT_READY_YET = (OSError, ValueError, KeyError, NoNode, urllib.error.URLError)


# --- where they find each other

def peer_of_eureka(part, estate):
    """With PEER=eureka-2: that server gets what this one is told."""
    settings = estate.state["parts"][part.name]["settings"]
    if "PEER" not in settings:
        return {}
    login = f"{settings['LOGIN']}@" if "LOGIN" in settings else ""
    # By another host name than its own, or the server takes the peer for itself.
    url = f"http://{login}localhost:{estate.port_of(settings['PEER'])}/eureka/"
    # A peer that takes longer than 200 ms for an answer, as one does that has just started, would lose it.
    return {"SPRING_APPLICATION_JSON": json.dumps({"eureka.client.service-url.defaultZone": url,
                                                   "eureka.server.peer-node-read-timeout-ms": 5000})}


def uses_eureka(part, estate):
    return {"EUREKA_URL": f"http://127.0.0.1:{estate.port_of('eureka')}/eureka/"}


def uses_consul(part, estate):
    port = estate.port_of("consul")
    return {"CONSUL_URL": f"http://127.0.0.1:{port}", "CONSUL_HOST": "127.0.0.1", "CONSUL_PORT": str(port)}


def uses_zookeeper(part, estate):
    return {"ZOOKEEPER": f"127.0.0.1:{estate.port_of('zookeeper')}"}


def uses_nacos(part, estate):
    return {"NACOS": f"127.0.0.1:{estate.port_of('nacos')}"}


def calls(provider):
    return lambda part, estate: {"URL": f"dubbo://127.0.0.1:{estate.port_of(provider)}"}


PACKAGE = "dev.landfall.estate"
OPENS = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in
         ("java.lang", "java.lang.reflect", "java.util", "java.util.concurrent", "java.math", "java.text", "java.net",
          "java.io", "java.time")]
LOG_OPTIONS = ["-Dorg.slf4j.simpleLogger.logFile=System.out", "-Dorg.slf4j.simpleLogger.showDateTime=true",
               "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"]
DUBBO_OPTIONS = ["-Ddubbo.service.shutdown.wait=2000", *LOG_OPTIONS, *OPENS,
                 "-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper=warn",
                 "-Dorg.slf4j.simpleLogger.log.org.apache.curator=warn"]

APPLICATIONS = {
    "eureka": Application(["http"], java("eureka", f"{PACKAGE}.EurekaServer", 160), eureka_ready,
                          environment=peer_of_eureka),
    "orders": Application(["http"], java("orders", f"{PACKAGE}.Orders", 128), orders_ready, ["eureka"], uses_eureka),
    "shop": Application(["http"], java("shop", f"{PACKAGE}.Shop", 128), shop_ready, ["orders", "eureka"], uses_eureka),
    "market": Application(["http"], java("market", f"{PACKAGE}.Market", 128), market_ready, ["consul"], uses_consul),
    "wharf": Application(["http"], java("wharf", f"{PACKAGE}.Wharf", 128), wharf_ready, ["nacos"], uses_nacos),
    "consul": Application(["http", "server", "serf"], consul, consul_ready),
    "stock": Application(["http"], stock, stock_ready, ["consul"], uses_consul),
    "zookeeper": Application(["client"], java("zookeeper", "org.apache.zookeeper.server.ZooKeeperServerMain", 96,
                                              *LOG_OPTIONS), zookeeper_ready),
    "dubbo3": Application(["dubbo", "tri"], java("dubbo3", f"{PACKAGE}.Dubbo3Provider", 160, *DUBBO_OPTIONS),
                          dubbo3_ready, ["zookeeper"], uses_zookeeper),
    "dubbo27": Application(["dubbo"], java("dubbo27", f"{PACKAGE}.Dubbo27Provider", 128, *DUBBO_OPTIONS),
                           dubbo27_ready, ["zookeeper"], uses_zookeeper),
    "caller3": Application(["http"], java("dubbo3", f"{PACKAGE}.Dubbo3Caller", 128, *DUBBO_OPTIONS),
                           caller_ready, ["zookeeper"], uses_zookeeper),
    "caller27": Application(["http"], java("dubbo27", f"{PACKAGE}.Dubbo27Caller", 128, *DUBBO_OPTIONS),
                            caller_ready, ["zookeeper"], uses_zookeeper),
    # Led to a provider by its URL; they ask no registry.
    "caller26": Application(["http"], java("dubbo26", f"{PACKAGE}.Dubbo26Caller", 128, *DUBBO_OPTIONS), caller_ready,
                            ["dubbo27"], calls("dubbo27")),
    "callergo": Application(["http"], callergo, caller_ready, ["dubbo3"], calls("dubbo3")),
    "callernode": Application(["http"], callernode, caller_ready, ["dubbo3"], calls("dubbo3")),
    "nacos": Application(["http", "grpc", "cluster", "raft"], java("nacos", f"{PACKAGE}.NacosServer", 256, *OPENS),
                         nacos_ready, offsets={"grpc": 1000, "cluster": 1001, "raft": -1000}),
    "parts": Application(["http"], java("parts", f"{PACKAGE}.Parts", 64, *LOG_OPTIONS), parts_ready, ["nacos"],
                         uses_nacos),
}
REGISTRIES = ("eureka", "consul", "zookeeper", "nacos")
