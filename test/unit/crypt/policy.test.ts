import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import type { KmsKey } from '../../../src/crypt/kms.ts';
import {
  checkRecipients,
  DECLINE_BREAK_GLASS,
  DECLINE_KMS,
  minimums,
  type RecipientPolicy,
} from '../../../src/crypt/policy.ts';
import { newIdentity } from '../../../src/crypt/recipients.ts';
import { AWAY, HOME, startWorld, type World } from './kms-world.ts';

const signal = new AbortController().signal;
const glass = await newIdentity('classic');
const pq = await newIdentity('post-quantum');

let world: World;
let home: KmsKey;
let away: KmsKey;

beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world[Symbol.asyncDispose]());
beforeEach(() => {
  world.kms.heal();
  home = world.key(world.kms.createKey({ region: HOME }));
  away = world.key(world.kms.createKey({ region: AWAY }));
});

type Given = { kms?: KmsKey[]; breakGlass?: string[]; sealKeyIds?: string[]; policy?: RecipientPolicy };

function check({ kms = [home, away], breakGlass = [glass.recipient], sealKeyIds = [], policy = {} }: Given) {
  return checkRecipients(policy, { kms, breakGlass, sealKeyIds }, signal);
}

async function refusal(given: Given): Promise<StrongroomError> {
  try {
    await check(given);
  } catch (e) {
    if (e instanceof StrongroomError) return e;
    throw e;
  }
  throw new Error('nothing was refused');
}

describe('minimums', () => {
  it('are one of each, and zero only in the exact words', () => {
    expect(minimums({})).toEqual({ kms: 1, breakGlass: 1 });
    expect(minimums({ minKmsWraps: 2, minBreakGlass: 3 })).toEqual({ kms: 2, breakGlass: 3 });
    const accept = { noKms: DECLINE_KMS, noBreakGlass: DECLINE_BREAK_GLASS };
    expect(minimums({ accept })).toEqual({ kms: 0, breakGlass: 0 });
    expect(minimums({ accept, minKmsWraps: 1 })).toEqual({ kms: 1, breakGlass: 0 });
    for (const policy of [
      { minKmsWraps: 0 },
      { minBreakGlass: 0 },
      { minKmsWraps: 1.5 },
      { minBreakGlass: -1, accept },
      { accept: { noKms: DECLINE_BREAK_GLASS } },
      { accept: { noBreakGlass: '' } },
    ]) {
      expect(() => minimums(policy), JSON.stringify(policy)).toThrow(
        expect.objectContaining({ code: 'E_CONFIG_INVALID' }),
      );
    }
  });
});

describe('checkRecipients', () => {
  it('passes two regions and a break-glass recipient beside a foreign seal', async () => {
    const seal = world.kms.createKey({ region: HOME });
    expect(await check({ sealKeyIds: [seal, 'transit/autounseal', ''] })).toEqual({ cautions: [] });
  });

  it('refuses too few, doubles, mixtures and nobody', async () => {
    const cases: Given[] = [
      { kms: [] },
      { breakGlass: [] },
      { kms: [home], policy: { minKmsWraps: 2 } },
      { policy: { minBreakGlass: 2 } },
      { kms: [home, world.key(home.keyId)] },
      { breakGlass: [glass.recipient, glass.recipient] },
      { breakGlass: [glass.recipient, pq.recipient] },
      { kms: [], breakGlass: [], policy: { accept: { noKms: DECLINE_KMS, noBreakGlass: DECLINE_BREAK_GLASS } } },
    ];
    for (const given of cases) expect((await refusal(given)).code).toBe('E_CONFIG_INVALID');
    expect(await check({ kms: [], policy: { accept: { noKms: DECLINE_KMS } } })).toEqual({ cautions: [] });
  });

  it('refuses the key that unseals the cluster, by ARN and by bare id', async () => {
    for (const sealKeyId of [
      home.keyId,
      home.keyId.split('/')[1] ?? '',
      home.keyId.toUpperCase().split('/')[1] ?? '',
    ]) {
      const error = await refusal({ sealKeyIds: [sealKeyId] });
      expect(error.code).toBe('E_KEY_REFUSED');
      expect(error.message).toContain(`${home.keyId} also unseals the cluster`);
    }
  });

  it('refuses a replica of the unseal key in another region', async () => {
    const seal = world.kms.createKey({ region: HOME, multiRegion: true });
    const replica = world.key(world.kms.replicateKey(seal, AWAY));
    const error = await refusal({ kms: [home, replica], sealKeyIds: [seal] });
    expect(error.message).toContain(`${replica.keyId} also unseals`);
    const ofReplica = await refusal({ kms: [home, world.key(seal)], sealKeyIds: [replica.keyId.split('/')[1] ?? ''] });
    expect(ofReplica.message).toContain(`${seal} also unseals`);
  });

  it('looks behind an alias, with and without an ARN around it', async () => {
    const arn = world.kms.createKey({ region: HOME, alias: 'alias/unseal' });
    const other = world.kms.createKey({ region: HOME, alias: 'alias/other' });
    for (const alias of ['alias/unseal', arn.replace(/key\/.*/, 'alias/unseal')]) {
      const error = await refusal({ kms: [away, world.key(arn)], sealKeyIds: [alias] });
      expect(error.message).toBe(`${arn} also unseals the cluster (${alias})`);
    }
    const beside = other.replace(/key\/.*/, 'alias/other');
    expect(await check({ kms: [home], sealKeyIds: [beside] })).toEqual({ cautions: [] });
  });

  it('says when an alias could not be resolved', async () => {
    const absent = home.keyId.replace(/key\/.*/, 'alias/nobody');
    const elsewhere = absent.replace(HOME, 'us-west-2');
    for (const sealKeyId of [absent, elsewhere]) {
      expect((await check({ sealKeyIds: [sealKeyId] })).cautions.join()).toMatch(/alias could not be resolved/);
    }
    world.kms.grant('blind', ['Encrypt']);
    const { cautions } = await check({ kms: [world.key(home.keyId, 'blind')], sealKeyIds: [absent] });
    expect(cautions).toHaveLength(2);
  });

  it('refuses disabled keys and pending deletions, all in one error', async () => {
    world.kms.disableKey(home.keyId);
    expect((await refusal({})).message).toMatch(/its state is Disabled/);
    world.kms.scheduleKeyDeletion(away.keyId);
    const both = await refusal({});
    expect(both.code).toBe('E_KEY_REFUSED');
    expect(both.message).toMatch(/and 1 more/);
    expect(JSON.stringify(both.details)).toMatch(/will be deleted on/);
  });

  it('takes a region that is down as a caution', async () => {
    world.kms.fail({ region: AWAY, with: 503 });
    const { cautions } = await check({});
    expect(cautions).toHaveLength(1);
    expect(cautions[0]).toMatch(/^E_KEY_UNAVAILABLE: kms:DescribeKey with .* in eu-west-1/);
  });
});
