// The least that a client can do: one POST of a plain archive to snapshot-force, as `curl --data-binary` would.
import { createReadStream, statSync } from 'node:fs';
import { request } from 'undici';

const { BENCH_NODE: node, BENCH_TOKEN: token, BENCH_ARCHIVE: archive } = process.env;
const { statusCode, body } = await request(`${node}/v1/sys/storage/raft/snapshot-force`, {
  method: 'POST',
  headers: { 'x-vault-token': token, 'content-length': String(statSync(archive).size) },
  body: createReadStream(archive, { highWaterMark: 256 * 1024 }),
  headersTimeout: 0,
});
const said = await body.text();
if (statusCode !== 204) throw new Error(`${node} answers ${statusCode}: ${said}`);
