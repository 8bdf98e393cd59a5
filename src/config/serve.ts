/** The part of the schema about `strongroom serve`. */
import { isIP } from 'node:net';
import { z } from 'zod';
import { isLoopback, parseListen } from '../core/listen.ts';
import { duration, list, origin, rule, secret, word } from './fields.ts';

/** host:port */
export const listen = () =>
  z.string().refine((value) => parseListen(value) !== null, {
    error: 'not an address to listen on; write host:port, such as 127.0.0.1:9464 or [::1]:9464',
  });

const header = () =>
  z.string().regex(/^[A-Za-z0-9-]{1,64}$/, { error: 'not the name of a header; write it as x-forwarded-user' });

const network = () =>
  z
    .string()
    .refine(isNetwork, { error: 'not an address; write that of the proxy, or its subnet: 10.0.0.7 or 10.0.0.0/24' });

function isNetwork(value: string): boolean {
  const [address = '', bits, ...rest] = value.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  // A subnet of everybody trusts everybody.
  return (
    bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) >= 1 && Number(bits) <= (version === 6 ? 128 : 32))
  );
}

const proxy = z
  .strictObject({
    header: header().prefault('x-forwarded-user').describe('header that names the user'),
    groupsHeader: header().exactOptional().describe("header with the user's groups, separated by commas"),
    operatorGroup: word()
      .exactOptional()
      .describe('group whose members may act; without it nobody behind the proxy may'),
    trusted: list(network(), (address) => address)
      .min(1)
      .describe('addresses and subnets of the proxy: from everywhere else these headers are not believed'),
  })
  .check(
    rule(['groupsHeader', 'operatorGroup'], (value, report) => {
      if ((value.groupsHeader === undefined) === (value.operatorGroup === undefined)) return;
      const missing = value.groupsHeader === undefined ? 'groupsHeader' : 'operatorGroup';
      report([missing], 'half of how operators are known; write both groupsHeader and operatorGroup');
    }),
  );

const auth = z
  .strictObject({
    token: secret().exactOptional().describe('token of those who may look'),
    operatorToken: secret().exactOptional().describe('token of those who may act too, where allowActions says so'),
    proxy: proxy.exactOptional().describe('a proxy in front that knows who people are, such as one for OIDC'),
    session: duration().prefault('12h').describe('how long a browser stays signed in with a token'),
    origin: origin('the dashboard')
      .exactOptional()
      .describe(
        'what people open, such as https://backup.example.com; default: what the browser asked for. With https cookies are Secure',
      ),
  })
  .check(
    rule(['token', 'operatorToken', 'proxy'], (value, report) => {
      if (value.token !== undefined || value.operatorToken !== undefined || value.proxy !== undefined) return;
      report([], 'lets nobody in; write token, operatorToken or proxy');
    }),
  );

export const serve = z
  .strictObject({
    listen: listen()
      .prefault('127.0.0.1:9464')
      .describe('host and port of the dashboard, /metrics, /healthz and /readyz'),
    refreshEvery: duration()
      .prefault('60s')
      .describe('how often the destinations of each cluster are read; each time costs some requests'),
    token: secret()
      .exactOptional()
      .describe(
        'bearer token that /metrics and the reasons of /readyz ask for; required where others than this machine can connect',
      ),
    auth: auth
      .exactOptional()
      .describe('who may see the dashboard; without it everybody on this machine, and nobody else'),
    allowActions: z
      .boolean()
      .prefault(false)
      .describe(
        'operators may ask for a backup or a verify, and hold and release snapshots; else the dashboard only shows',
      ),
  })
  .check(
    rule(['listen', 'token'], (value, report) => {
      if (value.token !== undefined || isLoopback(parseListen(value.listen)?.host ?? '')) return;
      report(['listen'], 'open to other machines without a token; write token too, or listen on 127.0.0.1:9464');
    }),
    rule(['auth', 'allowActions'], ({ auth: doors, allowActions }, report) => {
      if (!allowActions || doors?.operatorToken !== undefined || doors?.proxy?.operatorGroup !== undefined) return;
      report(['allowActions'], 'nobody is an operator; write auth.operatorToken, or auth.proxy with operatorGroup');
    }),
  );

export type ServeAuthConfig = z.output<typeof auth>;
