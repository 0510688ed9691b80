// A consumer of GreetingService as Node teams write it with dubbo2.js: the library as it is released, called through the
// provider's address in the environment.
//
//   URL         dubbo://127.0.0.1:20880
//   PORT_HTTP   where it answers
//   TIMEOUT_MS  of a call (1000)
//
// GET /hello?world answers what sayHello("world") did, or 502 with the exception; /large?N asks with N characters, /many?N from
// N callers twenty times each, /greet for an object. The library has no one-way calls. All calls go over one connection.
'use strict';

const http = require('http');
const { DirectlyDubbo, java } = require('dubbo2.js');

const dubbo = DirectlyDubbo.from({
  dubboAddress: process.env.URL.replace('dubbo://', ''),
  dubboVersion: '2.0.2',
  dubboInvokeTimeout: Number(process.env.TIMEOUT_MS || '1000') / 1000,
});

const service = dubbo.proxyService({
  dubboInterface: 'dev.landfall.estate.GreetingService',
  methods: {
    sayHello: (name) => [java.String(name)],
    greet: (name, times) => [
      java.combine('dev.landfall.estate.GreetingRequest', { name: java.String(name), times: java.int(times) }),
    ],
  },
});

// What the library answers is {res, err}.
async function hello(name) {
  const { res, err } = await service.sayHello(name);
  if (err) throw err;
  return res;
}

async function greet(name) {
  const { res, err } = await service.greet(name, 2);
  if (err) throw err;
  return `${res.text} (${res.instance})`;
}

async function large(size) {
  const name = 'x'.repeat(Number(size));
  const text = await hello(name);
  return text.startsWith(`Hello ${name}, from `) ? 'whole' : `not what was sent: ${text.length}`;
}

// Calls from that many callers at once; what each got must be its own.
async function many(size) {
  const callers = Array.from({ length: Number(size) }, async (_, caller) => {
    let own = true;
    for (let turn = 0; turn < 20; turn++) {
      const name = `caller-${caller}-${turn}`;
      own = (await hello(name)).startsWith(`Hello ${name}, from `) && own;
    }
    return own;
  });
  const good = (await Promise.all(callers)).filter(Boolean).length;
  return `${good} of ${size}`;
}

const paths = { '/hello': hello, '/greet': greet, '/large': large, '/many': many, '/ready': async () => 'yes' };

http
  .createServer(async (request, response) => {
    const [path, query = ''] = request.url.split('?');
    try {
      const does = paths[path];
      if (!does) throw new Error(`there is no ${path}`);
      response.end(String(await does(decodeURIComponent(query.replace(/\+/g, ' ')))));
    } catch (error) {
      response.statusCode = 502;
      response.end(String(error.message));
    }
  })
  .listen(Number(process.env.PORT_HTTP), '127.0.0.1');
