import { describe, expect, it } from 'vitest';
import { advise } from '../../../src/config/advice.ts';
import { complaints, parse, SAMPLE } from './sample.ts';

const withSink = (options: string): string => `${SAMPLE}notifications:\n  sinks:\n    ops: { ${options} }\n`;
const SLACK = 'type: slack, url: env:URL';
const EMAIL = 'type: email, host: mail, from: a@example.com, to: [b@example.com]';
const PING = 'type: ping, url: env:URL';

describe('notifications', () => {
  it('have defaults, with durations in milliseconds', () => {
    expect(parse(SAMPLE).notifications).toEqual({
      sinks: {},
      burst: { events: 5, window: 10_000 },
      repeatAfter: 86_400_000,
    });
    expect(parse(withSink(SLACK)).notifications.sinks['ops']).toMatchObject({
      severity: 'warning',
      timeout: 10_000,
      dangerouslyAllowHttp: false,
    });
    expect(parse(withSink('type: pagerduty, routingKey: env:K')).notifications.sinks['ops']).toMatchObject({
      severity: 'critical',
      endpoint: 'https://events.pagerduty.com',
    });
    expect(parse(withSink(EMAIL)).notifications.sinks['ops']).toMatchObject({ port: 587, security: 'starttls' });
    expect(parse(withSink(PING)).notifications.sinks['ops']).toMatchObject({
      method: 'POST',
      path: '{cluster}',
      failPath: 'fail',
      testPath: 'log',
      jobs: ['backup'],
    });
  });

  it.each([
    [SLACK],
    [`${SLACK}, severity: info, clusters: [prod-eu-1], timeout: 3s, dangerouslyAllowHttp: true`],
    ['type: webhook, url: file:u, secret: env:S'],
    [`${EMAIL}, security: tls, port: 465, auth: { username: u, password: env:P }`],
    [`${EMAIL}, security: none, port: 25, dangerouslySendInClear: true`],
    [`${EMAIL.replace('a@example.com', '"strongroom <a@example.com>"')}`],
    [`${PING}, path: "", clusters: [prod-eu-1]`],
    [`${PING}, path: "{job}/{cluster}", jobs: [backup, verify], testPath: ""`],
  ])('take %s', (options) => {
    expect(complaints(withSink(options))).toEqual([]);
  });

  it.each([
    ['type: slak, url: env:U', /ops\.type: not known; did you mean slack\?/],
    ['type: slack', /ops\.url: is missing; add it/],
    ['type: slack, url: https://hooks.example/planted', /ops\.url: a secret in plain text; write env:NAME or file:/],
    [`${SLACK}, severity: fatal`, /ops\.severity: not known; write one of info, warning, critical/],
    [`${SLACK}, clusters: [prod-eu-2]`, /ops\.clusters\[0\]: no such cluster; did you mean prod-eu-1\?/],
    [`${SLACK}, clusters: []`, /ops\.clusters: an empty list/],
    [`${SLACK}, timeout: 5`, /ops\.timeout: not a duration/],
    [`${SLACK}, chanel: x`, /ops\.chanel: unknown option/],
    ['type: webhook, url: env:U', /ops\.secret: is missing/],
    ['type: pagerduty, routingKey: planted', /ops\.routingKey: a secret in plain text/],
    [
      'type: pagerduty, routingKey: env:K, endpoint: https://events.pagerduty.com/v2/enqueue',
      /ops\.endpoint: not the address of an events endpoint/,
    ],
    [`${EMAIL}, security: none`, /ops\.security: mail in the clear; write starttls or tls, or dangerouslySendInClear/],
    [
      `${EMAIL}, security: none, dangerouslySendInClear: true, auth: { username: u, password: env:P }`,
      /ops\.security: the password would cross the network in the clear/,
    ],
    [`${EMAIL}, port: 465`, /ops\.port: on this port servers speak TLS from the first byte; write security: tls/],
    [EMAIL.replace('[b@example.com]', '["b@example.com, c@example.com"]'), /ops\.to\[0\]: not one mail address/],
    [EMAIL.replace('a@example.com', '"a@example.com\\r\\nBcc: x@example.com"'), /ops\.from: not one mail address/],
    [`${PING}, path: ""`, /ops\.path: one address for several clusters: .*; put \{cluster\} into it/],
    [`${PING}, jobs: [backup, verify]`, /ops\.path: one address for several jobs: .*; put \{job\} into it/],
    [`${PING}, path: /x/`, /ops\.path: not a path below the URL/],
    [`${PING}, severity: info`, /ops\.severity: unknown option/],
  ])('refuse %s', (options, complaint) => {
    const lines = complaints(withSink(options));
    expect(lines).toEqual([expect.stringMatching(complaint)]);
    expect(lines[0]).toMatch(/^20:\d+ notifications\.sinks\.ops/);
    expect(lines.join()).not.toContain('planted');
  });

  it('name their sinks as everything else is named', () => {
    expect(complaints(withSink(SLACK).replace('ops:', 'Ops_1:'))).toEqual([
      '20:5 notifications.sinks.Ops_1: not the name of a sink; write lower-case letters, digits and inner dashes, at most 63',
    ]);
  });

  it('never print their secrets', () => {
    const config = parse(withSink('type: webhook, url: env:U, secret: file:s'), { U: 'planted' });
    expect(JSON.stringify(config.notifications)).toContain('"url":"*** (env:U)"');
  });
});

describe('advice', () => {
  const scheduled = (text: string): string =>
    text.replace(
      '    destinations: [primary',
      '    schedule: { backup: { cron: "@daily" } }\n    destinations: [primary',
    );
  const about = (text: string): string[] => advise(parse(text)).filter((line) => line.startsWith('notifications'));

  it('says where a scheduled cluster could fail in silence', () => {
    expect(about(scheduled(SAMPLE))).toEqual([
      expect.stringMatching(/nobody is told when a run for prod-eu-1 fails/),
      expect.stringMatching(/nobody notices when no run for prod-eu-1 is made at all/),
    ]);
    expect(about(scheduled(withSink(SLACK)))).toEqual([expect.stringMatching(/nobody notices/)]);
    expect(about(scheduled(withSink(PING)))).toEqual([expect.stringMatching(/nobody is told/)]);
    expect(about(scheduled(`${withSink(SLACK)}    alive: { ${PING} }\n`))).toEqual([]);
    expect(about(SAMPLE)).toEqual([]);
  });

  it('says what crosses the network in the clear', () => {
    expect(about(withSink(`${SLACK}, dangerouslyAllowHttp: true`))).toEqual([
      'notifications.sinks.ops: messages may cross the network in the clear; use TLS',
    ]);
    expect(about(withSink(`${EMAIL}, security: none, dangerouslySendInClear: true`))).toHaveLength(1);
    expect(about(withSink(`${EMAIL}, dangerouslySendInClear: true`))).toEqual([]);
  });
});
