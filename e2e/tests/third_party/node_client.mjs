// Node's clients against a function at rest: http with an agent that keeps its connections, http2, and fetch.
import assert from "node:assert";
import http from "node:http";
import http2 from "node:http2";
import { text } from "node:stream/consumers";

const base = process.argv[2];
const large = "0123456789abcdef".repeat(500_000);
let answered = 0;

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
let reused = 0;

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(base + path, { agent, method }, async (response) => {
      answered += 1;
      reused += request.reusedSocket ? 1 : 0;
      resolve({ status: response.statusCode, headers: response.headers, text: await text(response) });
    });
    request.on("error", reject);
    request.end(body);
  });
}

const cold = await call("GET", "/");
assert.strictEqual(cold.status, 200);
assert.match(cold.headers["server-timing"], /^catnap;desc=cold/);
for (let turn = 0; turn < 100; turn += 1) {
  assert.match((await call("GET", "/")).text, /^Hello from /);
}
assert.strictEqual((await call("POST", "/echo", large)).text, large);
assert.strictEqual(reused, 101);
agent.destroy();

const session = http2.connect(base);
function stream(headers, body) {
  return new Promise((resolve, reject) => {
    const request = session.request(headers);
    let status;
    request.on("response", (received) => { status = received[":status"]; });
    request.on("error", reject);
    text(request).then((all) => { answered += 1; resolve({ status, text: all }); }, reject);
    request.end(body);
  });
}
const streams = Array.from({ length: 200 }, () => stream({ ":path": "/" }));
for (const { status, text } of await Promise.all(streams)) {
  assert.strictEqual(status, 200);
  assert.match(text, /^Hello from /);
}
const echoed = await stream({ ":path": "/echo", ":method": "POST" }, large);
assert.strictEqual(echoed.text, large);
session.close();

const fetched = await Promise.all(Array.from({ length: 100 }, () => fetch(base + "/")));
for (const response of fetched) {
  assert.strictEqual(response.status, 200);
  assert.match(await response.text(), /^Hello from /);
  answered += 1;
}
const posted = await fetch(base + "/echo", { method: "POST", body: large });
assert.strictEqual(await posted.text(), large);
answered += 1;
const chunks = [];
for await (const chunk of (await fetch(base + "/stream?chunks=3&interval_ms=20")).body) {
  chunks.push(Buffer.from(chunk).toString());
}
assert.strictEqual(chunks.join(""), "chunk 0\nchunk 1\nchunk 2\n");
answered += 1;
console.log("answered", answered);
