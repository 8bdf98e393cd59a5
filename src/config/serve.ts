/** The part of the schema about `strongroom serve`. */
import { z } from 'zod';
import { isLoopback, parseListen } from '../core/listen.ts';
import { duration, rule, secret } from './fields.ts';

/** host:port */
export const listen = () =>
  z.string().refine((value) => parseListen(value) !== null, {
    error: 'not an address to listen on; write host:port, such as 127.0.0.1:9464 or [::1]:9464',
  });

export const serve = z
  .strictObject({
    listen: listen().prefault('127.0.0.1:9464').describe('host and port of /metrics, /healthz and /readyz'),
    refreshEvery: duration()
      .prefault('60s')
      .describe('how often the destinations of each cluster are read; each time costs some requests'),
    token: secret()
      .exactOptional()
      .describe(
        'bearer token that /metrics and the reasons of /readyz ask for; required where others than this machine can connect',
      ),
  })
  .check(
    rule(['listen', 'token'], (value, report) => {
      if (value.token !== undefined || isLoopback(parseListen(value.listen)?.host ?? '')) return;
      report(['listen'], 'open to other machines without a token; write token too, or listen on 127.0.0.1:9464');
    }),
  );
