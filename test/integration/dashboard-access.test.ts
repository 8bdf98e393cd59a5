/** Who is let in to the pages, over real sockets from several addresses, and what is written down of what they did. */
import { request as httpRequest } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SnapshotId } from '../../src/core/ids.ts';
import { DashboardSite, HOSTILE, TOKENS } from '../support/dashboard-site.ts';

const never = new AbortController().signal;
const HOUR = 3_600_000;

let site: DashboardSite;
let newest: SnapshotId;

type Call = { method?: string; headers?: Record<string, string>; from?: string; body?: Record<string, string> };
type Answer = { status: number; text: string; headers: Record<string, string | string[] | undefined> };

/** One request from an address of this machine. */
function call(to: string, { method = 'GET', headers = {}, from = '127.0.0.1', body }: Call = {}): Promise<Answer> {
  const answered = Promise.withResolvers<Answer>();
  const url = new URL(to, site.url);
  const form = body === undefined ? undefined : new URLSearchParams(body).toString();
  const type = form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' };
  const sent = httpRequest(
    url,
    { method, localAddress: from, agent: false, headers: { ...type, ...headers } },
    (reply) => {
      let text = '';
      reply.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      reply.on('error', answered.reject);
      reply.on('end', () => answered.resolve({ status: reply.statusCode ?? 0, text, headers: reply.headers }));
    },
  );
  sent.on('error', answered.reject);
  sent.end(form);
  return answered.promise;
}

/** Signs in as a browser does; gives the cookie. */
async function signIn(token: string, from?: string): Promise<Answer & { cookie: string }> {
  const answer = await call('/login', {
    method: 'POST',
    headers: { origin: site.url },
    body: { name: 'grace', token },
    ...(from === undefined ? {} : { from }),
  });
  const cookie = String(answer.headers['set-cookie']?.[0] ?? '').split(';')[0] ?? '';
  return { ...answer, cookie };
}

async function csrfOf(to: string, headers: Record<string, string>, from?: string): Promise<string> {
  const { text } = await call(to, { headers, ...(from === undefined ? {} : { from }) });
  return /name="csrf" value="([^"]+)"/.exec(text)?.[1] ?? '';
}

async function open(serve: Record<string, unknown>): Promise<void> {
  site = await DashboardSite.open(serve);
  ({ newest } = await site.fill());
  await site.seen((page) => page.includes('did not keep the promise'), {
    authorization: `Bearer ${TOKENS.operator}`,
  });
}

afterEach(async () => {
  await site[Symbol.asyncDispose]();
});

describe('with tokens', () => {
  beforeEach(() => open({ auth: { token: 'file:viewer', operatorToken: 'file:operator' }, allowActions: true }));

  it('a session ends by itself, and takes its cookie and its forms with it', async () => {
    const { cookie, headers } = await signIn(TOKENS.operator);
    expect(String(headers['set-cookie'])).toMatch(/; Max-Age=43200; HttpOnly; SameSite=Strict/);
    const to = `/clusters/prod/snapshots/${newest}`;
    const csrf = await csrfOf(to, { cookie });
    site.clock.time = new Date(site.clock.time.getTime() + 12 * HOUR - 1_000);
    expect((await call('/', { headers: { cookie } })).status).toBe(200);
    site.clock.time = new Date(site.clock.time.getTime() + 1_000);
    const after = await call('/', { headers: { cookie, accept: 'text/html' } });
    expect([after.status, after.headers['location']]).toEqual([303, '/login']);
    const held = await call(`${to}/hold`, {
      method: 'POST',
      headers: { cookie, origin: site.url },
      body: { why: 'late', csrf },
    });
    expect(held.status).toBe(401);
  });

  it('a session that was ended is no session, wherever the cookie still is', async () => {
    const { cookie } = await signIn(TOKENS.viewer);
    const { cookie: other } = await signIn(TOKENS.viewer);
    const csrf = await csrfOf('/', { cookie });
    const foreign = {
      method: 'POST',
      headers: { cookie, origin: site.url },
      body: { csrf: await csrfOf('/', { cookie: other }) },
    };
    expect((await call('/logout', foreign)).status).toBe(403);
    const out = await call('/logout', { method: 'POST', headers: { cookie, origin: site.url }, body: { csrf } });
    expect(out.status).toBe(303);
    expect(String(out.headers['set-cookie'])).toContain('Max-Age=0');
    expect((await call('/', { headers: { cookie } })).status).toBe(401);
    expect((await call('/', { headers: { cookie: other } })).status).toBe(200);
    expect(site.log).toContainEqual(expect.objectContaining({ msg: 'somebody signed out', who: 'grace' }));
  });

  it('whoever guesses is stopped after twenty tries, by form or header, and nobody else with them', async () => {
    const guess = { authorization: 'Bearer guess' };
    for (let i = 0; i < 10; i += 1) {
      expect((await signIn('guess', '127.0.0.2')).status).toBe(403);
      expect((await call('/', { headers: guess, from: '127.0.0.2' })).status).toBe(401);
    }
    expect((await signIn(TOKENS.operator, '127.0.0.2')).status).toBe(429);
    const right = { headers: { authorization: `Bearer ${TOKENS.operator}` }, from: '127.0.0.2' };
    const { status, text } = await call('/api/fleet', right);
    expect([status, text]).toEqual([401, expect.stringContaining('too many wrong tokens')]);
    expect((await signIn(TOKENS.operator)).status).toBe(303);
    expect((await call('/api/fleet', { headers: right.headers })).status).toBe(200);
    site.clock.time = new Date(site.clock.time.getTime() + 60_000);
    expect((await signIn(TOKENS.operator, '127.0.0.2')).status).toBe(303);
    expect(JSON.stringify(site.log)).not.toContain('guess');
  });

  it('only an operator acts, only from a form of ours, and who it was is written down', async () => {
    const to = `/clusters/prod/snapshots/${newest}`;
    const viewer = await signIn(TOKENS.viewer);
    const page = (await call(to, { headers: { cookie: viewer.cookie } })).text;
    expect(page).not.toContain('/hold"');
    const operator = await signIn(TOKENS.operator);
    const [mine, theirs] = [await csrfOf(to, { cookie: operator.cookie }), await csrfOf(to, { cookie: viewer.cookie })];
    const act = (cookie: string, csrf: string, origin = site.url, act = 'hold'): Promise<Answer> =>
      call(`${to}/${act}`, { method: 'POST', headers: { cookie, origin }, body: { why: 'the audit', csrf } });
    expect((await act(viewer.cookie, theirs)).status).toBe(403);
    expect((await act(operator.cookie, theirs)).status).toBe(403);
    expect((await act(operator.cookie, '')).status).toBe(403);
    expect((await act(operator.cookie, mine, 'http://evil.example')).status).toBe(403);
    const nobodys = { method: 'POST', headers: { origin: site.url }, body: { why: 'x', csrf: mine } };
    expect((await call(`${to}/hold`, nobodys)).status).toBe(401);
    const records = async () => {
      const { names } = await site.scene.records.holds(never);
      const own = names.filter(({ snapshot }) => snapshot === newest);
      return await Promise.all(own.map((name) => site.scene.records.readHold(name, never)));
    };
    expect(await records()).toEqual([]);

    const early = await act(operator.cookie, mine, site.url, 'release');
    expect([early.status, early.text]).toEqual([412, expect.stringContaining('nobody has held it')]);
    expect((await act(operator.cookie, mine)).status).toBe(201);
    expect((await call(to, { headers: { cookie: operator.cookie } })).text).toContain('/release"');
    const released = await act(operator.cookie, mine, site.url, 'release');
    expect([released.status, released.text]).toEqual([201, expect.stringContaining('<h1>Released</h1>')]);
    expect((await call(to, { headers: { cookie: operator.cookie } })).text).not.toContain('/release"');
    expect((await records()).map((record) => [record.act, record.who, record.why])).toEqual([
      ['hold', 'grace', 'the audit'],
      ['release', 'grace', 'the audit'],
    ]);
    const journal = site.log.filter(({ act: what }) => what === 'hold' || what === 'release');
    expect(journal.map(({ msg }) => msg)).toEqual([
      ...Array.from({ length: 5 }, () => 'an act was refused or failed'),
      'an operator acted',
      'an operator acted',
    ]);
    expect(journal.at(-1)).toMatchObject({ act: 'release', who: 'grace', via: 'session', from: '127.0.0.1' });
  });
});

describe('behind a proxy that knows who people are', () => {
  const PROXY = '127.0.0.2';
  const SPOOFED = ['127.0.0.1', '127.0.0.3'];
  const ada = { 'x-forwarded-user': 'ada', 'x-forwarded-groups': 'staff, backup-operators' };

  beforeEach(() =>
    open({
      auth: {
        operatorToken: 'file:operator',
        proxy: { trusted: [PROXY], groupsHeader: 'x-forwarded-groups', operatorGroup: 'backup-operators' },
      },
      allowActions: true,
    }),
  );

  it('believes its headers, and acts in the name that they give', async () => {
    const { status, text } = await call('/', { headers: ada, from: PROXY });
    expect([status, text]).toEqual([200, expect.stringMatching(/ada <span class="zone">operator/)]);
    const viewer = await call('/', { headers: { 'x-forwarded-user': 'bob' }, from: PROXY });
    expect(viewer.text).toMatch(/bob <span class="zone">viewer/);
    const to = `/clusters/prod/snapshots/${newest}`;
    const csrf = await csrfOf(to, ada, PROXY);
    const headers = { ...ada, origin: site.url };
    const held = await call(`${to}/hold`, { method: 'POST', headers, from: PROXY, body: { why: 'law', csrf } });
    expect(held.status).toBe(201);
    const { text: after } = await call(to, { headers: ada, from: PROXY });
    expect(after).toContain('class="wrap">ada</td>');
    const bobs = { method: 'POST', headers: { 'x-forwarded-user': 'bob', origin: site.url }, from: PROXY };
    expect((await call(`${to}/hold`, { ...bobs, body: { why: 'law', csrf } })).status).toBe(403);
  });

  it('refuses the same headers from everywhere else, whatever else they claim', async () => {
    for (const from of SPOOFED) {
      for (const headers of [
        ada,
        { ...ada, 'x-forwarded-for': PROXY, forwarded: `for=${PROXY}`, 'x-real-ip': PROXY },
      ]) {
        const { status, text } = await call('/api/fleet', { headers, from });
        expect([from, status, text]).toEqual([from, 401, expect.stringContaining('E_DENIED')]);
      }
    }
    const csrf = await csrfOf('/clusters/prod', ada, PROXY);
    const spoofed = {
      method: 'POST',
      headers: { ...ada, origin: site.url },
      from: '127.0.0.3',
      body: { why: 'x', csrf },
    };
    expect((await call(`/clusters/prod/snapshots/${newest}/hold`, spoofed)).status).toBe(401);
  });

  it('refuses a name that came twice, beside another, or is none', async () => {
    for (const name of ['ada, eve', '', 'x'.repeat(200)]) {
      expect((await call('/', { headers: { 'x-forwarded-user': name }, from: PROXY })).status, name).toBe(401);
    }
    const { text } = await call('/', { headers: { 'x-forwarded-user': HOSTILE.replaceAll(',', '') }, from: PROXY });
    expect(text).not.toContain('<script>document');
  });
});
