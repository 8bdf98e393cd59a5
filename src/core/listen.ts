/** "127.0.0.1:9464": where a server listens. */
import { BlockList, isIP } from 'node:net';

export type Listen = { host: string; port: number };

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Host and port; an IPv6 address stands in brackets. Port 0 = any that is free. null = it is not of that form. */
export function parseListen(text: string): Listen | null {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) return null;
  if (match?.[1] !== undefined && isIP(host) !== 6) return null;
  return { host, port };
}

/** Can only this machine connect? A name other than localhost may lead anywhere, so it is not taken for it. */
export function isLoopback(host: string): boolean {
  const version = isIP(host);
  if (version === 0) return host === 'localhost';
  return loopback.check(host, version === 6 ? 'ipv6' : 'ipv4');
}
