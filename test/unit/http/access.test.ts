/** Who is let in, and what is done for whom: against strongroom serve itself, on a real port. */
import { request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { DashboardSite, HOSTILE, TOKENS } from '../../support/dashboard-site.ts';

const AUTH = { auth: { token: 'file:viewer', operatorToken: 'file:operator' } };
const ACTING = { ...AUTH, allowActions: true };
const PROXY = { header: 'x-user', groupsHeader: 'x-groups', operatorGroup: 'ops', trusted: ['127.0.0.0/8'] };
const HTML = { accept: 'text/html' };
const FORM = 'application/x-www-form-urlencoded';

type Answer = { status: number; headers: Record<string, string | string[] | undefined>; body: string };

/** One request with exactly these headers: fetch() would not send a Host or an Origin of ours. */
async function ask(
  site: DashboardSite,
  path: string,
  headers: Record<string, string> = {},
  form?: Record<string, string>,
): Promise<Answer> {
  const body = form === undefined ? '' : new URLSearchParams(form).toString();
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const method = form === undefined ? 'GET' : 'POST';
  const own = form === undefined ? {} : { 'content-type': FORM, 'content-length': String(body.length) };
  const request = httpRequest(new URL(path, site.url), { method, agent: false, headers: { ...own, ...headers } });
  request.on('error', reject).on('response', (response) => {
    text(response).then(
      (answer) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: answer }),
      reject,
    );
  });
  request.end(body);
  return await promise;
}

async function signIn(site: DashboardSite, token: string, name = 'ada'): Promise<string> {
  const answer = await ask(site, '/login', { ...HTML, origin: site.url }, { name, token });
  const [cookie = ''] = answer.headers['set-cookie'] ?? [];
  return cookie.split(';')[0] ?? '';
}

function csrfOf({ body }: Answer): string {
  return /name="csrf" value="([^"]+)"/.exec(body)?.[1] ?? '';
}

describe('without serve.auth', () => {
  it('everybody on this machine may look, by the address of this machine alone', async () => {
    await using site = await DashboardSite.open();
    const { host } = new URL(site.url);
    expect(await ask(site, '/', HTML)).toMatchObject({ status: 200 });
    expect(await ask(site, '/', { ...HTML, host: `localhost:${host.split(':')[1]}` })).toMatchObject({ status: 200 });
    const rebound = await ask(site, '/', { ...HTML, host: 'evil.example' });
    expect(rebound.status).toBe(403);
    expect(rebound.body).not.toContain('staging');
    expect(await ask(site, '/api/fleet', { host: 'evil.example' })).toMatchObject({ status: 403 });
  });

  it('nobody is an operator', async () => {
    await using site = await DashboardSite.open();
    const answer = await ask(site, '/clusters/prod/ask', { ...HTML, origin: site.url }, { job: 'backup' });
    expect(answer).toMatchObject({ status: 403 });
    expect(answer.body).toContain('read-only');
  });
});

describe('a token', () => {
  it('is asked for, for every page and stream', async () => {
    await using site = await DashboardSite.open(AUTH);
    for (const path of ['/', '/runs', '/queues', '/clusters/prod', '/clusters/nothing', '/clusters/prod/retention']) {
      expect(await ask(site, path, HTML)).toMatchObject({ status: 303, headers: { location: '/login' } });
      expect(await ask(site, path)).toMatchObject({ status: 401 });
    }
    for (const path of ['/api/fleet', '/events']) {
      const answer = await ask(site, path, HTML);
      expect(answer.headers['content-type']).toContain('application/problem+json');
      expect(answer.status).toBe(401);
    }
  });

  it('is that of the config, as a bearer', async () => {
    await using site = await DashboardSite.open(AUTH);
    const by = (token: string): Promise<Answer> => ask(site, '/', { authorization: `Bearer ${token}` });
    expect(await by(TOKENS.viewer)).toMatchObject({ status: 200 });
    expect(await by(TOKENS.operator)).toMatchObject({ status: 200 });
    expect(await by(`${TOKENS.viewer}x`)).toMatchObject({ status: 401 });
    expect(await by('')).toMatchObject({ status: 401 });
  });

  it('becomes a session in a cookie that no script reads and no other site sends', async () => {
    await using site = await DashboardSite.open(AUTH);
    const wrong = await ask(site, '/login', { ...HTML, origin: site.url }, { name: 'ada', token: 'wrong' });
    expect(wrong).toMatchObject({ status: 403 });
    expect(wrong.headers['set-cookie']).toBeUndefined();
    const right = await ask(site, '/login', { ...HTML, origin: site.url }, { name: 'ada', token: TOKENS.viewer });
    const [cookie = ''] = right.headers['set-cookie'] ?? [];
    expect(cookie).toMatch(/; HttpOnly; SameSite=Strict$/);
    expect(cookie).not.toContain(TOKENS.viewer);
    expect((await ask(site, '/', { cookie: cookie.split(';')[0] ?? '' })).body).toContain(
      'ada <span class="zone">viewer',
    );
  });

  it('may not be guessed without end', async () => {
    await using site = await DashboardSite.open(AUTH);
    const guess = (token: string): Promise<Answer> =>
      ask(site, '/login', { ...HTML, origin: site.url }, { name: 'x', token });
    for (let i = 0; i < 20; i += 1) expect(await guess(`wrong-${i}`)).toMatchObject({ status: 403 });
    expect(await guess(TOKENS.viewer)).toMatchObject({ status: 429 });
  });

  it('is not one of a login that another site sent', async () => {
    await using site = await DashboardSite.open(AUTH);
    const form = { name: 'ada', token: TOKENS.viewer };
    expect(await ask(site, '/login', { ...HTML, origin: 'https://evil.example' }, form)).toMatchObject({ status: 403 });
    expect(await ask(site, '/login', HTML, form)).toMatchObject({ status: 403 });
  });
});

describe('a session', () => {
  it('counts only as it was made', async () => {
    await using site = await DashboardSite.open(AUTH);
    const cookie = await signIn(site, TOKENS.viewer);
    expect(await ask(site, '/', { cookie })).toMatchObject({ status: 200 });
    const [name = '', value = ''] = cookie.split('=');
    const [body = '', mac = ''] = value.split('.');
    const json = Buffer.from(body, 'base64url').toString().replace('viewer', 'operator');
    const forged = `${name}=${Buffer.from(json).toString('base64url')}.${mac}`;
    const longer = `${name}=${body}.${mac}.x`;
    for (const bad of [forged, longer, `${name}=${body}.`, `${name}=.`, `${name}=${body}.${mac.toLowerCase()}`]) {
      expect(await ask(site, '/', { cookie: bad })).toMatchObject({ status: 401 });
    }
  });

  it('ends with the server that made it', async () => {
    await using first = await DashboardSite.open(AUTH);
    await using second = await DashboardSite.open(AUTH);
    const cookie = await signIn(first, TOKENS.viewer);
    expect(await ask(second, '/', { cookie })).toMatchObject({ status: 401 });
  });
});

describe('a trusted proxy', () => {
  it('says who it is, and who is an operator', async () => {
    await using site = await DashboardSite.open({ auth: { proxy: PROXY } });
    expect((await ask(site, '/', { 'x-user': 'ada' })).body).toContain('ada <span class="zone">viewer');
    const both = { 'x-user': 'ada', 'x-groups': 'staff, ops' };
    expect((await ask(site, '/', both)).body).toContain('ada <span class="zone">operator');
    expect(await ask(site, '/')).toMatchObject({ status: 401 });
    expect(await ask(site, '/', { 'x-user': 'mallory, ada' })).toMatchObject({ status: 401 });
  });

  it('is believed from its own address alone', async () => {
    await using site = await DashboardSite.open({ auth: { proxy: { ...PROXY, trusted: ['10.0.0.0/8'] } } });
    expect(await ask(site, '/', { 'x-user': 'ada' })).toMatchObject({ status: 401 });
  });
});

describe('an act', () => {
  it('is not for a viewer, with whatever form', async () => {
    await using site = await DashboardSite.open(ACTING);
    const { newest } = await site.fill();
    const path = `/clusters/prod/snapshots/${newest}/hold`;
    const cookie = await signIn(site, TOKENS.viewer);
    const page = await ask(site, `/clusters/prod/snapshots/${newest}`, { ...HTML, cookie });
    expect(page.body).not.toContain('Why it must be kept');
    const form = { csrf: csrfOf(page), why: 'because' };
    expect(await ask(site, path, { ...HTML, cookie, origin: site.url }, form)).toMatchObject({ status: 403 });
    const bearer = { authorization: `Bearer ${TOKENS.viewer}` };
    expect(await ask(site, path, bearer, form)).toMatchObject({ status: 403 });
    expect(site.log).toContainEqual(
      expect.objectContaining({ msg: 'an act was refused or failed', who: 'ada', act: 'hold' }),
    );
  });

  it('is not for anybody unless the config allows it', async () => {
    await using site = await DashboardSite.open(AUTH);
    const { newest } = await site.fill();
    const answer = await ask(
      site,
      `/clusters/prod/snapshots/${newest}/hold`,
      { authorization: `Bearer ${TOKENS.operator}` },
      { why: 'x' },
    );
    expect(answer).toMatchObject({ status: 403 });
  });

  it('of an operator holds a snapshot, in their name, in every destination', async () => {
    await using site = await DashboardSite.open(ACTING);
    const { newest } = await site.fill();
    const cookie = await signIn(site, TOKENS.operator, 'grace');
    const path = `/clusters/prod/snapshots/${newest}`;
    const csrf = csrfOf(await ask(site, path, { ...HTML, cookie }));
    const own = { ...HTML, cookie, origin: site.url };
    const never = new AbortController().signal;
    const count = async (): Promise<number> =>
      (await site.scene.records.holds(never)).names.filter(({ snapshot }) => snapshot === newest).length;

    const refused: [Record<string, string>, Record<string, string>][] = [
      [
        { ...own, origin: 'https://evil.example' },
        { csrf, why: 'x' },
      ],
      [
        { ...HTML, cookie },
        { csrf, why: 'x' },
      ],
      [
        { ...own, origin: 'null' },
        { csrf, why: 'x' },
      ],
      [
        { ...own, 'sec-fetch-site': 'cross-site' },
        { csrf, why: 'x' },
      ],
      [own, { why: 'x' }],
      [own, { csrf: `${csrf}x`, why: 'x' }],
      [
        own,
        {
          csrf: csrfOf(await ask(site, path, { ...HTML, cookie: await signIn(site, TOKENS.operator, 'eve') })),
          why: 'x',
        },
      ],
    ];
    for (const [headers, form] of refused) {
      expect(await ask(site, `${path}/hold`, headers, form)).toMatchObject({ status: 403 });
    }
    expect(await ask(site, `${path}/hold`, own, { csrf, why: ' ' })).toMatchObject({ status: 400 });
    expect(await ask(site, `${path}/hold`, own, { csrf, why: 'x', until: '2001-01-01' })).toMatchObject({
      status: 400,
    });
    expect(await count()).toBe(0);

    const held = await ask(site, `${path}/hold`, own, { csrf, why: 'the audit', until: '2027-12-31' });
    expect(held).toMatchObject({ status: 201 });
    expect(held.body).toContain('is stored in a and b');
    for (const destination of ['a', 'b']) {
      const records = site.scene.records.only(destination);
      const name = (await records.holds(never)).names.find(({ snapshot }) => snapshot === newest);
      if (name === undefined) throw new Error(`no hold in ${destination}`);
      expect(await records.readHold(name, never)).toMatchObject({
        who: 'grace',
        why: 'the audit',
        act: 'hold',
        until: '2027-12-31T23:59:59.000Z',
      });
    }
    expect(site.log).toContainEqual(
      expect.objectContaining({ msg: 'an operator acted', who: 'grace', act: 'hold', snapshot: newest }),
    );
  });

  it('that reached one destination only says so', async () => {
    await using site = await DashboardSite.open(ACTING);
    const { newest } = await site.fill();
    await site.scene.takeAway('b');
    const bearer = { authorization: `Bearer ${TOKENS.operator}`, 'x-strongroom-user': 'grace' };
    const held = await ask(site, `/clusters/prod/snapshots/${newest}/hold`, bearer, { why: 'x' });
    await site.scene.bringBack('b');
    expect(held.body).toContain('Held in part');
    expect(held.body).toContain('Not done in b');
  });

  it('of a run needs a queue', async () => {
    await using site = await DashboardSite.open(ACTING);
    const answer = await ask(
      site,
      '/clusters/prod/ask',
      { authorization: `Bearer ${TOKENS.operator}` },
      { job: 'backup' },
    );
    expect(answer).toMatchObject({ status: 412 });
    expect(answer.body).toContain('there is none');
  });
});

describe('the pages', () => {
  it('say what the destinations hold, and show what was planted as text', async () => {
    await using site = await DashboardSite.open();
    const { newest, old } = await site.fill();
    const pages: [string, string[]][] = [
      [
        '/clusters/prod',
        [
          'b: <span class="badge critical">',
          'no manifest here',
          'proven 5h ago',
          'node vault-1 is sealed',
          'Europe/Berlin',
          '0 */6 * * *',
          'made before a restore',
          'held',
        ],
      ],
      [`/clusters/prod/snapshots/${old}`, ['the audit of the year', 'raft', 'ECDSA_P256_SHA256']],
      [`/clusters/prod/snapshots/${newest}`, ['archive', 'Never held.']],
      ['/clusters/prod/retention', ['keep', 'held by', 'daily 2027-03-10']],
    ];
    for (const [path, words] of pages) {
      const { status, body } = await ask(site, path, HTML);
      expect(status, path).toBe(200);
      for (const word of words) expect(body.toLowerCase(), path).toContain(word.toLowerCase());
      expect(body).not.toContain('<script>');
      expect(body).not.toContain('<img');
    }
    expect((await ask(site, `/clusters/prod/snapshots/${old}`, HTML)).body).toContain('&lt;script&gt;');
    expect(HOSTILE).toContain('<script>');
  });

  it('are errors of their kind: a page for browsers, problem JSON for programs', async () => {
    await using site = await DashboardSite.open();
    const page = await ask(site, '/clusters/nothing', HTML);
    expect(page).toMatchObject({ status: 404 });
    expect(page.headers['content-type']).toContain('text/html');
    for (const path of [
      '/clusters/prod/snapshots/nothing',
      '/clusters/prod/snapshots/01JQ0000000000000000000000',
      '/nothing',
      '/events',
    ]) {
      const program = await ask(site, path);
      expect(program).toMatchObject({ status: 404 });
      expect(JSON.parse(program.body)).toMatchObject({ status: 404, code: 'E_NOT_FOUND' });
    }
  });

  it('carry a policy under which nothing but ours is loaded', async () => {
    await using site = await DashboardSite.open();
    for (const path of ['/', '/nothing', '/queues']) {
      const { headers } = await ask(site, path, HTML);
      expect(headers['content-security-policy']).toContain("default-src 'none'");
      expect(headers['content-security-policy']).not.toContain('unsafe');
      expect(headers).toMatchObject({
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'cache-control': 'no-store',
      });
    }
  });

  it('say that a destination is away, and show the rest', async () => {
    await using site = await DashboardSite.open();
    await site.fill();
    await site.scene.takeAway('a');
    const { status, body } = await ask(site, '/clusters/prod', HTML);
    await site.scene.bringBack('a');
    expect(status).toBe(200);
    expect(body).toContain('Not every destination was listed');
  });
});
