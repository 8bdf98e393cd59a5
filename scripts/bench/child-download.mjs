// The least that a client can do: one GET of a snapshot to /dev/null. Prints bytes and milliseconds as JSON.
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { request } from 'undici';

const { BENCH_NODE: node, BENCH_TOKEN: token } = process.env;
const begin = performance.now();
let bytes = 0;
const { statusCode, body } = await request(`${node}/v1/sys/storage/raft/snapshot`, {
  headers: { 'x-vault-token': token },
});
if (statusCode !== 200) throw new Error(`${node} answers ${statusCode}`);
body.on('data', (/** @type {Buffer} */ chunk) => {
  bytes += chunk.byteLength;
});
await pipeline(body, createWriteStream('/dev/null'));
process.stdout.write(JSON.stringify({ bytes, ms: performance.now() - begin }));
