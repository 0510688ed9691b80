// npm's consul, told by lines what to do: `find NAME`, `pass`, `watch NAME` (its own watch, `seen` tells what it has
// seen), `bye`. Answers each with one line of JSON.
const Consul = require("consul");

const [address, name, port] = process.argv.slice(2);
const [host, at] = address.split(":");
const client = new Consul({ host, port: Number(at) });
const id = `${name}-${port}`;
const answer = (value) => console.log(JSON.stringify(value));
const addresses = (rows) => rows.map((row) => `${row.Service.Address}:${row.Service.Port}`).sort();
let seen = null;

async function act(word, wanted) {
  switch (word) {
    case "find":
      return addresses(await client.health.service({ service: wanted, passing: true }));
    case "pass":
      await client.agent.check.pass(`service:${id}`);
      return true;
    case "watch": {
      const watch = client.watch({
        method: client.health.service,
        options: { service: wanted, passing: true, wait: "10s" },
        backoffFactor: 200,
      });
      watch.on("change", (rows) => { seen = addresses(rows); });
      watch.on("error", () => {});
      return true;
    }
    case "seen":
      return seen;
    case "bye":
      await client.agent.service.deregister(id);
      return "gone";
    default:
      return null;
  }
}

(async () => {
  await client.agent.service.register({
    name, id, address: "127.0.0.1", port: Number(port), tags: ["node"], check: { ttl: "20s", status: "passing" },
  });
  answer("registered");
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const [word, wanted] = line.split(" ");
    answer(await act(word, wanted).catch((error) => ({ error: String(error) })));
    if (word === "bye") process.exit(0);
  }
})();
