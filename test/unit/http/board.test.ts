import { type FastifyInstance, fastify } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../../src/core/log.ts';
import { addBoard, type BoardModules, type BoardOptions } from '../../../src/http/board.ts';
import { url } from '../../../src/http/html.ts';
import { renderPage } from '../../../src/http/layout.ts';
import { queuesPage } from '../../../src/http/pages/queues.ts';

const FRAME = { visitor: null, assets: { style: url`/s`, script: url`/j`, icon: url`/i` }, now: new Date(0) };
let app: FastifyInstance;
beforeEach(() => {
  app = fastify();
});
afterEach(() => app.close());

const lines: string[] = [];
const options = (load: () => Promise<BoardModules>): BoardOptions => ({
  queues: async () => [],
  admit: async () => undefined,
  refuse: async () => undefined,
  log: createLog('info', { write: (line: string) => void lines.push(line) }),
  load,
});

describe('bull-board', () => {
  it('that is not installed is no address, and the page says how to have it', async () => {
    const missing = 'strongroom-has-no-such-board';
    const to = await addBoard(
      app,
      options(async () => (await import(missing)) as BoardModules),
    );
    expect(to).toBeNull();
    expect((await app.inject('/queues/board/')).statusCode).toBe(404);
    expect(renderPage(queuesPage({}, to), FRAME)).toContain('npm install @bull-board/fastify @bull-board/api');
    expect(lines).toEqual([]);
  });

  it('that cannot be loaded is told of, and takes nothing with it', async () => {
    const to = await addBoard(
      app,
      options(() => Promise.reject(new Error('half of it is missing'))),
    );
    expect(to).toBeNull();
    expect(lines.join('')).toContain('half of it is missing');
    expect((await app.inject('/queues/board/')).statusCode).toBe(404);
  });
});
