/** bull-board, where it is installed: the single jobs of the queues, to be looked at and nothing else. */
import type { createBullBoard } from '@bull-board/api';
import type { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import type { FastifyAdapter } from '@bull-board/fastify';
import type { Queue } from 'bullmq';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { StrongroomError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { type LocalUrl, url } from './html.ts';
import { nameError } from './problem.ts';

const BOARD = '/queues/board';

/** The parts of it that are used. */
export type BoardModules = {
  createBullBoard: typeof createBullBoard;
  BullMQAdapter: typeof BullMQAdapter;
  FastifyAdapter: typeof FastifyAdapter;
};

export type BoardOptions = {
  /** rejects when Redis does not answer */
  queues(signal: AbortSignal): Promise<readonly Queue[]>;
  /** throws for whoever may not look */
  admit(request: FastifyRequest): Promise<unknown>;
  refuse(error: StrongroomError, request: FastifyRequest, reply: FastifyReply): Promise<void>;
  log: Log;
  /** default: what is installed beside strongroom */
  load?: () => Promise<BoardModules>;
};

/**
 * Wider than the policy of our own pages, by what bull-board needs and no more: the address in its <base>, styles that its
 * scripts write, and HTML that they make of job data, which trusted types would stop. Scripts are still only those of files
 * from here, nothing is loaded from elsewhere, and no form is sent anywhere.
 */
const POLICY = [
  "default-src 'none'",
  "style-src 'self' 'unsafe-inline'",
  "script-src 'self'",
  "img-src 'self'",
  "font-src 'self'",
  "connect-src 'self'",
  "form-action 'none'",
  "base-uri 'self'",
  "frame-ancestors 'none'",
].join('; ');

/** What would be asked of others; the policy stops it too, and the browser would complain of each page. */
const FOREIGN_LINKS = /<link\b[^>]*\bhref="https?:[^>]*>\s*/g;

/** Adds it to `app`, below /queues/board; null = it is not installed, or cannot be loaded, which is logged. */
export async function addBoard(app: FastifyInstance, options: BoardOptions): Promise<LocalUrl | null> {
  const modules = await loaded(options);
  if (modules === null) return null;
  const adapter = new modules.FastifyAdapter().setBasePath(BOARD);
  const board = modules.createBullBoard({
    queues: [],
    serverAdapter: adapter,
    options: {
      uiConfig: {
        boardTitle: 'strongroom queues',
        hideRedisDetails: true,
        miscLinks: [{ text: 'strongroom', url: '/queues' }],
      },
    },
  });
  // Its own sends the stack to the browser.
  adapter.setErrorHandler((e) => {
    options.log.warn({ err: String(e) }, 'the board of the queues cannot be read');
    return { status: 500, body: { code: 'E_QUEUE_UNREACHABLE', message: 'the queues cannot be read' } };
  });
  let shown: readonly Queue[] | null = null;
  const fill = async (signal: AbortSignal): Promise<void> => {
    const queues = await options.queues(signal);
    if (shown === queues) return;
    board.replaceQueues(
      queues.map((queue) => new modules.BullMQAdapter(queue, { readOnlyMode: true, allowRetries: false })),
    );
    shown = queues;
  };
  // Waited for, it would close the app to what the caller has still to add, such as how errors are answered.
  void app.register(
    async (scope) => {
      scope.addHook('onRequest', async (request, reply) => {
        try {
          await options.admit(request);
          // It has a read-only mode, which hides buttons and refuses what it knows of. This refuses all.
          if (request.method !== 'GET' && request.method !== 'HEAD') {
            throw new StrongroomError('E_FORBIDDEN', 'the queues are only looked at here');
          }
          if (request.url.startsWith(`${BOARD}/api/`)) await fill(request.signal);
        } catch (e) {
          const { error, isOurs } = nameError(e as FastifyError);
          if (isOurs)
            options.log.warn({ url: request.url, err: error.toJSON() }, 'the board of the queues is not shown');
          await options.refuse(error, request, reply);
          return reply;
        }
        reply.header('content-security-policy', POLICY);
        return undefined;
      });
      scope.addHook('onSend', async (_request, reply, payload) => {
        const isPage = String(reply.getHeader('content-type')).startsWith('text/html');
        return isPage && typeof payload === 'string' ? payload.replace(FOREIGN_LINKS, '') : payload;
      });
      void scope.register(adapter.registerPlugin());
    },
    { prefix: BOARD },
  );
  return url`/queues/board/`;
}

async function loaded({ load = installed, log }: BoardOptions): Promise<BoardModules | null> {
  try {
    return await load();
  } catch (e) {
    const isMissing = e instanceof Error && 'code' in e && e.code === 'ERR_MODULE_NOT_FOUND';
    if (!isMissing) log.warn({ err: String(e) }, 'bull-board is installed, and cannot be loaded');
    return null;
  }
}

async function installed(): Promise<BoardModules> {
  const [api, adapter, fastify] = await Promise.all([
    import('@bull-board/api'),
    import('@bull-board/api/bullMQAdapter'),
    import('@bull-board/fastify'),
  ]);
  return { ...api, ...adapter, ...fastify };
}
