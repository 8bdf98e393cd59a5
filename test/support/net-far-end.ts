/** The far end of a test's wire, run inside its namespace: ports that lead to sockets in the file system, and a resolver. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { z } from 'zod';

const { address, ports, dnsFile, readyFile } = z
  .object({ address: z.string(), ports: z.record(z.string(), z.string()), dnsFile: z.string(), readyFile: z.string() })
  .parse(JSON.parse(process.argv[2] ?? ''));

for (const [port, path] of Object.entries(ports)) {
  const server = createServer((client) => {
    const target = connect(path);
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      socket.on('error', () => other.destroy());
      socket.once('close', () => other.destroy());
      socket.pipe(other);
    }
  });
  server.listen(Number(port), address);
  await once(server, 'listening');
}

const TYPE_A = 1;
const NO_SUCH_NAME = 3;

const resolver = createSocket('udp4');
resolver.on('message', (query, from) => {
  const [mode, only] = readFileSync(dnsFile, 'utf8').split(' ');
  const concerned = only === '' || only === nameIn(query);
  if (concerned && mode === 'silent') return;
  resolver.send(reply(query, concerned && mode === 'gone'), from.port, from.address);
});
resolver.bind(53, address);
await once(resolver, 'listening');
writeFileSync(readyFile, '');

function nameIn(query: Buffer): string {
  const labels: string[] = [];
  for (let at = 12; query[at] !== 0 && at < query.length; at += (query[at] ?? 0) + 1) {
    labels.push(query.toString('latin1', at + 1, at + 1 + (query[at] ?? 0)));
  }
  return labels.join('.').toLowerCase();
}

/** The question again, with our address behind it when it is for one (RFC 1035, 4.1). */
function reply(query: Buffer, isGone: boolean): Buffer {
  let end = 12;
  while (query[end] !== 0) end += (query[end] ?? 0) + 1;
  end += 5;
  const question = query.subarray(12, end);
  const hasAddress = !isGone && query.readUInt16BE(end - 4) === TYPE_A;
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  // A response, recursion desired and available.
  header.writeUInt16BE(0x8180 | (isGone ? NO_SUCH_NAME : 0), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(hasAddress ? 1 : 0, 6);
  if (!hasAddress) return Buffer.concat([header, question]);
  // The name as a pointer to the question, type A, class IN, no time to live: every connection asks anew.
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)]);
  return Buffer.concat([header, question, answer]);
}
