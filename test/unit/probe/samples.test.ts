/** What was probed becomes metrics: only facts, and none that is too old to be one. */
import { describe, expect, it } from 'vitest';
import { METRICS, PROBE_METRICS } from '../../../src/observe/metrics.ts';
import type { ClusterFacts } from '../../../src/probe/cluster-probe.ts';
import type { KeyFacts } from '../../../src/probe/key-probe.ts';
import { NOTHING_KNOWN } from '../../../src/probe/login-probe.ts';
import { probeSamples } from '../../../src/probe/samples.ts';

const MINUTE = 60_000;
const at = (minute: number): Date => new Date(Date.UTC(2027, 2, 10) + minute * MINUTE);
const key = (change: Partial<KeyFacts> = {}): KeyFacts => ({
  key: 'k1',
  region: 'eu-central-1',
  use: 'seal',
  triedAt: at(5),
  isUp: true,
  lastSuccessAt: at(5),
  state: 'Enabled',
  deletionAt: null,
  ...change,
});
const facts = (change: Partial<ClusterFacts> = {}): ClusterFacts => ({
  cluster: 'prod',
  since: at(0),
  probedAt: at(5),
  keys: [key()],
  login: NOTHING_KNOWN,
  ...change,
});
const valuesOf = (change: Partial<ClusterFacts>, minute: number, everyMs = MINUTE): Record<string, number> =>
  Object.fromEntries(
    probeSamples(facts(change), everyMs, at(minute)).map(({ name, value }) => [name.replace('strongroom_', ''), value]),
  );

describe('samples', () => {
  it('are all there when everything is known, with the labels of the table', () => {
    const samples = probeSamples(
      facts({
        keys: [key({ isUp: false, state: 'PendingDeletion', deletionAt: at(65) })],
        login: {
          certificates: new Map([['https://n1:8200', at(100)]]),
          clientCertificateEndsAt: at(200),
          token: { endsAt: at(300), isRenewable: false },
        },
      }),
      MINUTE,
      at(5),
    );
    expect(samples.map(({ name }) => name).sort()).toEqual(Object.keys(PROBE_METRICS).sort());
    for (const { name, labels } of samples) expect(Object.keys(labels).sort()).toEqual(METRICS[name].labels.toSorted());
    const said = Object.fromEntries(samples.map(({ name, value }) => [name, value]));
    expect(said).toMatchObject({
      strongroom_kms_up: 0,
      strongroom_kms_key_deletion_seconds: 3600,
      strongroom_token_expiry_timestamp_seconds: at(300).getTime() / 1000,
    });
  });

  it('say nothing that nobody knows', () => {
    const unknown = key({ triedAt: null, isUp: false, lastSuccessAt: null, state: null });
    expect(valuesOf({ probedAt: null, keys: [unknown] }, 1)).toEqual({});
    expect(valuesOf({ probedAt: null, keys: [] }, 100)).toEqual({});
  });

  it('do not call a key alive that was not tried for long, be it that the probe hangs or never began', () => {
    expect(valuesOf({}, 8)).toMatchObject({ kms_up: 1 });
    expect(valuesOf({}, 8.1)).toMatchObject({ kms_up: 0, kms_last_success_timestamp_seconds: at(5).getTime() / 1000 });
    expect(valuesOf({}, 14, 3 * MINUTE)).toMatchObject({ kms_up: 1 });
    expect(valuesOf({}, 7, 1_000)).toMatchObject({ kms_up: 1 });
    const untried = key({ triedAt: null, isUp: false, lastSuccessAt: null, state: null });
    expect(valuesOf({ probedAt: null, keys: [untried] }, 3)).toEqual({});
    expect(valuesOf({ probedAt: null, keys: [untried] }, 3.1)).toEqual({ kms_up: 0 });
  });
});
