/** The pages of strongroom serve: who may see them, and which address shows which. */
import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CODES, isError, StrongroomError } from '../core/errors.ts';
import { addActions } from './act.ts';
import { addBoard } from './board.ts';
import type { DashboardOptions, Desk } from './desk.ts';
import { setSecurityHeaders } from './guard.ts';
import { url } from './html.ts';
import { renderPage } from './layout.ts';
import { LiveStreams } from './live.ts';
import { mayAct, snapshotOf } from './may.ts';
import { askForms, holdForms } from './pages/actions.ts';
import { clusterPage } from './pages/cluster.ts';
import { overviewPage, overviewQuery } from './pages/overview.ts';
import { queuesPage } from './pages/queues.ts';
import { retentionPage } from './pages/retention.ts';
import { runsPage } from './pages/runs.ts';
import { problemPage } from './pages/sign-in.ts';
import { snapshotPage } from './pages/snapshot.ts';
import { type Entry, identify } from './people.ts';
import { sendProblem, wantsPage } from './problem.ts';
import { readiness } from './readiness.ts';
import { Seals } from './session.ts';
import { addSignIn } from './sign-in.ts';
import { ICON, SCRIPT, STYLE } from './style.ts';
import { WrongTokens } from './wrong-tokens.ts';

const hashed = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);
const ASSETS = {
  style: url`/assets/${hashed(STYLE)}.css`,
  script: url`/assets/${hashed(SCRIPT)}.js`,
  icon: url`/assets/${hashed(ICON)}.svg`,
};

/** Adds the pages to `app`; what it returns renders an error, and ends the live streams. */
export async function addDashboard(
  app: FastifyInstance,
  options: DashboardOptions,
): Promise<{ showProblem: (error: StrongroomError, request: FastifyRequest, reply: FastifyReply) => Promise<void> }> {
  const { source, queue, clock } = options;
  const desk = makeDesk(options);
  const { visitor, cluster, show } = desk;
  const streams = new LiveStreams(clock);
  const showProblem = async (error: StrongroomError, request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const who = await identify(request, options.entry(), desk).catch(() => null);
    const isAsking = error.code === 'E_DENIED' && who === null && typeof options.entry() === 'object';
    if (isAsking && request.method === 'GET') {
      await reply.code(303).header('location', '/login').send();
      return;
    }
    await show(reply, problemPage(error), who, CODES[error.code].http);
  };
  app.addHook('preClose', async () => streams[Symbol.dispose]());
  app.addHook('onRequest', async (_request, reply) => {
    setSecurityHeaders(reply);
  });
  for (const [to, type, text] of [
    [ASSETS.style, 'text/css', STYLE],
    [ASSETS.script, 'text/javascript', SCRIPT],
    [ASSETS.icon, 'image/svg+xml', ICON],
  ] as const) {
    app.get(to.path, async (_request, reply) => await reply.type(`${type}; charset=utf-8`).send(text));
  }

  app.get('/', async (request, reply) => {
    const who = await visitor(request);
    return show(
      reply,
      overviewPage(source.fleet(), (name) => source.zoneOf(name), clock.now(), overviewQuery(request.query)),
      who,
    );
  });
  app.get('/api/fleet', async (request) => {
    await visitor(request);
    return readiness(source.fleet(), clock.now());
  });
  app.get('/runs', async (request, reply) => {
    const who = await visitor(request);
    const last = source
      .fleet()
      .flatMap(({ status }) =>
        Object.values(status.jobs ?? {}).map(({ last: record }) => ({ cluster: status.cluster, record })),
      );
    const current = queue === null ? null : await orWhy(() => queue.current(request.signal));
    return show(
      reply,
      runsPage(last, current, (name) => source.zoneOf(name)),
      who,
    );
  });
  const board =
    queue === null
      ? null
      : await addBoard(app, {
          queues: (signal) => queue.queues(signal),
          admit: visitor,
          refuse: async (error, request, reply) =>
            await (wantsPage(request) ? showProblem(error, request, reply) : sendProblem(reply, error)),
          log: options.log,
        });
  app.get('/queues', async (request, reply) => {
    const who = await visitor(request);
    const counts = queue === null ? null : await orWhy(() => queue.counts(request.signal));
    return show(reply, queuesPage(counts, board), who);
  });
  app.get('/clusters/:cluster', async (request, reply) => {
    const who = await visitor(request);
    const watched = cluster(request);
    const name = watched.status.cluster;
    const [timeline, runs] = await Promise.all([
      orWhy(() => source.timeline(name, request.signal)),
      orWhy(() => source.runs(name, request.signal)),
    ]);
    const now = clock.now();
    const planned = source.planned(name, now);
    const actions = mayAct(desk, who) ? askForms(name, who, queue?.canAsk(name) ?? null) : null;
    return show(reply, clusterPage({ watched, zone: source.zoneOf(name), timeline, runs, planned, actions, now }), who);
  });
  app.get('/clusters/:cluster/retention', async (request, reply) => {
    const who = await visitor(request);
    const name = cluster(request).status.cluster;
    const previews = await orWhy(() => source.retention(name, request.signal));
    return show(reply, retentionPage(name, previews, source.zoneOf(name)), who);
  });
  app.get('/clusters/:cluster/snapshots/:snapshot', async (request, reply) => {
    const who = await visitor(request);
    const name = cluster(request).status.cluster;
    const detail = await source.snapshot(name, snapshotOf(request), request.signal);
    const actions = mayAct(desk, who) ? holdForms(name, detail.found.manifest.snapshot, who, detail.isHeld) : null;
    return show(reply, snapshotPage({ detail, zone: source.zoneOf(name), actions, now: clock.now() }), who);
  });
  app.get('/events', async (request, reply) => {
    await visitor(request);
    if (queue === null) {
      throw new StrongroomError('E_NOT_FOUND', 'live progress needs the queue', { hint: 'set queue in the config' });
    }
    streams.add(reply, queue, async () => (await identify(request, options.entry(), desk)) !== null);
  });
  addSignIn(app, desk);
  addActions(app, desk);

  return { showProblem };
}

function makeDesk(options: DashboardOptions): Desk {
  const seals = new Seals();
  const wrong = new WrongTokens();
  const { clock, source, entry, log } = options;
  return {
    ...options,
    seals,
    wrong,
    visitor: async (request) => {
      const isGuess = request.headers.authorization !== undefined && typeof entry() === 'object';
      const now = clock.now().getTime();
      if (isGuess && wrong.isOver(request.ip, now)) throw tooMany();
      const found = await identify(request, entry(), { seals, clock });
      if (found !== null) return found;
      if (isGuess) {
        wrong.add(request.ip, now);
        log.warn({ from: request.ip }, 'a request with a wrong token was refused');
      }
      throw denied(entry());
    },
    cluster: ({ params }) => {
      const { cluster: name } = params as { cluster?: string };
      const watched = source.fleet().find(({ status }) => status.cluster === name);
      if (watched === undefined) throw new StrongroomError('E_NOT_FOUND', 'there is no such cluster in the config');
      return watched;
    },
    show: (reply, page, visitor, status = 200) =>
      reply
        .code(status)
        .type('text/html; charset=utf-8')
        .send(renderPage(page, { visitor, assets: ASSETS, now: clock.now() })),
  };
}

function tooMany(): StrongroomError {
  return new StrongroomError('E_DENIED', 'too many wrong tokens came from this address', {
    hint: 'try again in a minute, with a token of serve.auth',
  });
}

function denied(entry: Entry): StrongroomError {
  if (entry === 'closed') {
    return new StrongroomError('E_FORBIDDEN', 'the dashboard is off: other machines can connect to this address', {
      hint: 'set serve.auth in the config, or listen on 127.0.0.1',
    });
  }
  if (entry === 'local') {
    return new StrongroomError(
      'E_FORBIDDEN',
      'without serve.auth the dashboard is shown under the address of this machine',
      {
        hint: 'open it as http://127.0.0.1 or http://localhost, or set serve.auth in the config',
      },
    );
  }
  return new StrongroomError('E_DENIED', 'nobody is let in without a token of serve.auth', {
    hint: 'sign in at /login, or send the header Authorization: Bearer <token>',
  });
}

/** What `read` gives, or in words why it cannot be had: one part that is away must not take the page with it. */
async function orWhy<T>(read: () => Promise<T>): Promise<T | string> {
  try {
    return await read();
  } catch (e) {
    if (!isError(e)) throw e;
    return e.message;
  }
}
