// eureka-js-client, told by lines what to do: `find NAME`, `bye`. Answers each with one line of JSON.
const { Eureka } = require("eureka-js-client");

const [url, name, port] = process.argv.slice(2);
const at = new URL(url);
const client = new Eureka({
  instance: {
    app: name, instanceId: `${name}:${port}`, hostName: "127.0.0.1", ipAddr: "127.0.0.1", vipAddress: name,
    port: { $: Number(port), "@enabled": "true" },
    dataCenterInfo: { "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", name: "MyOwn" },
  },
  eureka: {
    host: at.hostname, port: Number(at.port), servicePath: `${at.pathname.replace(/\/$/, "")}/apps/`,
    heartbeatInterval: 1000, registryFetchInterval: 500,
  },
});
client.logger.level("error");
const answer = (value) => console.log(JSON.stringify(value));
client.start((error) => {
  if (error) {
    answer({ error: String(error) });
    process.exit(1);
  }
  answer("registered");
  require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
    const [word, wanted] = line.split(" ");
    if (word === "find") {
      answer(client.getInstancesByAppId(wanted.toUpperCase()).map((one) => `${one.ipAddr}:${one.port.$}`).sort());
    } else if (word === "bye") {
      client.stop(() => {
        answer("gone");
        process.exit(0);
      });
    }
  });
});
