import { describe, expect, it } from 'vitest';
import { complaints, parse, SAMPLE } from './sample.ts';

const withServe = (block: string): string => `${SAMPLE}serve: ${block}\n`;

describe('the dashboard of serve', () => {
  it('is for reading only, and for this machine only, where nothing else is said', () => {
    const { serve } = parse(withServe('{}'));
    expect(serve.auth).toBeUndefined();
    expect(serve.allowActions).toBe(false);
  });

  it('takes a token, an operator token and a proxy', () => {
    const block =
      '{ allowActions: true, auth: { token: env:A, operatorToken: env:B, origin: "https://b.example/", session: 1h, proxy: { trusted: ["10.0.0.0/24", "::1"] } } }';
    expect(parse(withServe(block)).serve.auth).toMatchObject({
      origin: 'https://b.example',
      session: 3_600_000,
      proxy: { header: 'x-forwarded-user', trusted: ['10.0.0.0/24', '::1'] },
    });
  });

  it.each([
    ['nobody', '{ auth: {} }', 'serve.auth: lets nobody in; write token, operatorToken or proxy'],
    ['a token in plain text', '{ auth: { token: hunter2 } }', 'serve.auth.token: a secret in plain text'],
    ['acts of nobody', '{ allowActions: true }', 'serve.allowActions: nobody is an operator; write auth.operatorToken'],
    [
      'acts of viewers',
      '{ allowActions: true, auth: { token: env:A } }',
      'serve.allowActions: nobody is an operator; write auth.operatorToken',
    ],
    [
      'a proxy that is everybody',
      '{ auth: { proxy: { trusted: ["0.0.0.0/0"] } } }',
      'serve.auth.proxy.trusted[0]: not an address; write that of the proxy',
    ],
    ['a proxy by name', '{ auth: { proxy: { trusted: [proxy] } } }', 'serve.auth.proxy.trusted[0]: not an address'],
    [
      'half of the operators',
      '{ auth: { proxy: { operatorGroup: ops, trusted: ["10.0.0.7"] } } }',
      'serve.auth.proxy.groupsHeader: half of how operators are known',
    ],
    [
      'a header that is none',
      '{ auth: { proxy: { header: "a b", trusted: ["10.0.0.7"] } } }',
      'serve.auth.proxy.header: not the name of a header',
    ],
  ])('refuses %s', (_what, block, message) => {
    expect(complaints(withServe(block)).join('\n')).toContain(message);
  });
});
