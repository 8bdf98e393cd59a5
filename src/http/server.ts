/**
 * The web server: /metrics for Prometheus, /healthz for whoever restarts the process, /readyz for whoever wants backups,
 * and pages for people.
 */
import { type FastifyError, type FastifyInstance, fastify } from 'fastify';
import { StrongroomError } from '../core/errors.ts';
import type { Listen } from '../core/listen.ts';
import type { Log } from '../core/log.ts';
import type { Clock } from '../core/units.ts';
import { collectSamples, type MetricSource, renderSamples } from '../observe/exposition.ts';
import type { WatchedStatus } from '../observe/watch.ts';
import { mayRead, type TokenSource } from './access.ts';
import { addDashboard } from './dashboard.ts';
import type { DashboardOptions } from './desk.ts';
import { acceptForms } from './form.ts';
import { nameError, sendProblem, wantsPage } from './problem.ts';
import { readiness } from './readiness.ts';

export type HttpOptions = {
  listen: Listen;
  token: TokenSource;
  sources: readonly MetricSource[];
  /** what is known of every cluster now */
  watched(): readonly WatchedStatus[];
  dashboard: Omit<DashboardOptions, 'clock' | 'log'>;
  clock: Clock;
  log: Log;
};

export type HttpServer = AsyncDisposable & {
  /** such as http://127.0.0.1:9464; with the port that it really has */
  url: string;
};

/** A request that is not complete by then is ended, in milliseconds: those that have a body are short forms. */
const REQUEST_MS = 10_000;
/** Answers under way have so long when the server stops, in milliseconds. */
const LAST_ANSWERS_MS = 5_000;

/** Listens; the caller disposes it. Rejects with E_PRECONDITION when the address cannot be listened on. */
export async function openHttp(options: HttpOptions): Promise<HttpServer> {
  const app = await buildHttp(options);
  try {
    const url = await app.listen(options.listen);
    return { url, [Symbol.asyncDispose]: () => close(app) };
  } catch (e) {
    await app.close();
    const { host, port } = options.listen;
    throw new StrongroomError('E_PRECONDITION', `${host}:${port} cannot be listened on`, {
      hint: 'another process may have the port; set serve.listen, or --listen',
      cause: e,
    });
  }
}

/** The server without a port. The caller closes it. */
async function buildHttp(options: Omit<HttpOptions, 'listen'>): Promise<FastifyInstance> {
  const app = fastify({ logger: false, requestTimeout: REQUEST_MS, forceCloseConnections: 'idle' });
  app.get('/healthz', async (_request, reply) => await reply.type('text/plain').send('alive\n'));
  app.get('/readyz', async (request, reply) => {
    const state = readiness(options.watched(), options.clock.now());
    reply.code(state.ready ? 200 : 503);
    // A probe without a token learns what it came for, and nothing of names and reasons.
    return (await mayRead(request, options.token)) ? state : { ready: state.ready };
  });
  app.get('/metrics', async (request, reply) => {
    if (!(await mayRead(request, options.token))) {
      reply.header('www-authenticate', 'Bearer');
      throw new StrongroomError('E_DENIED', '/metrics is not shown without the token of serve.token', {
        hint: 'send the header Authorization: Bearer <token>',
      });
    }
    const { contentType, text } = await renderSamples(await collectSamples(options.sources, options.clock.now()));
    return await reply.type(contentType).send(text);
  });
  app.addHook('onSend', async (_request, reply) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff');
  });
  acceptForms(app);
  const { showProblem } = await addDashboard(app, { ...options.dashboard, clock: options.clock, log: options.log });
  app.setNotFoundHandler(async (request, reply) => {
    const hint = 'there is /metrics, /healthz and /readyz, and the pages begin at /';
    const error = new StrongroomError('E_NOT_FOUND', 'there is no such page', { hint });
    await (wantsPage(request) ? showProblem(error, request, reply) : sendProblem(reply, error));
  });
  app.setErrorHandler(async (e: FastifyError, request, reply) => {
    const { error, isOurs } = nameError(e);
    if (isOurs) options.log.error({ url: request.url, err: error.toJSON() }, 'a request failed');
    await (wantsPage(request) ? showProblem(error, request, reply) : sendProblem(reply, error));
  });
  return app;
}

async function close(app: FastifyInstance): Promise<void> {
  const timer = setTimeout(() => app.server.closeAllConnections(), LAST_ANSWERS_MS);
  try {
    await app.close();
  } finally {
    clearTimeout(timer);
  }
}
