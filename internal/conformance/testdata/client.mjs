// Makes the calls of the conformance test with one of Node's clients and prints
// what came: client.mjs fetch|undici|undici-h2 ORIGIN < CALLS. The package undici
// is looked for below the directory that REPRISE_PEERS names.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [module, origin] = process.argv.slice(2);
let dispatcher;

async function byFetch(url, call) {
  const init = { method: call.method, headers: call.header, redirect: "manual" };
  if (call.body !== undefined) init.body = call.body;
  const answer = await fetch(url, init);
  return [answer.status, [...answer.headers], () => answer.arrayBuffer()];
}

async function byUndici(url, call) {
  const { request, Agent } = createRequire(process.env.REPRISE_PEERS + "/")("undici");
  dispatcher ??= new Agent({ allowH2: module === "undici-h2" });
  const headers = { ...call.header };
  const expectContinue = headers.Expect !== undefined;
  delete headers.Expect; // undici refuses it as a field
  const answer = await request(url, { method: call.method, headers, body: call.body, expectContinue, dispatcher });
  return [answer.statusCode, Object.entries(answer.headers), () => answer.body.arrayBuffer()];
}

const client = module === "fetch" ? byFetch : byUndici;
for (const call of JSON.parse(readFileSync(0, "utf8"))) {
  if (module === "fetch" && call.header?.Expect) delete call.header.Expect; // nor does fetch send it
  const [status, fields, read] = await client(`${origin}${call.target}`, call);
  let body;
  try {
    body = Buffer.from(await read());
  } catch (e) {
    body = Buffer.from("breaks off: " + (e.cause?.code ?? e.code ?? e.name));
  }
  console.log(JSON.stringify([call.method, call.target, status, fields.sort(), body.length, createHash("sha256").update(body).digest("hex")]));
}
