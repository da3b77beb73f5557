// Makes the calls of the conformance test with Node's fetch (undici) and prints
// what came.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

for (const call of JSON.parse(readFileSync(0, "utf8"))) {
  const init = { method: call.method, headers: call.header, redirect: "manual" };
  if (call.body !== undefined) init.body = call.body;
  const answer = await fetch(`http://${process.argv[2]}${call.target}`, init);
  const body = Buffer.from(await answer.arrayBuffer());
  const fields = [...answer.headers].sort();
  console.log(JSON.stringify([call.method, call.target, answer.status, fields, body.length, createHash("sha256").update(body).digest("hex")]));
}
