import { describe, expect, it } from 'vitest';
import { complaints, KEY_ARN, OTHER_RECIPIENT, RECIPIENT, SAMPLE, sample } from './sample.ts';

const WITHOUT_KMS = sample(`  kms: [{ keyId: ${KEY_ARN} }]\n`, '');
const POST_QUANTUM = `age1pq1${'q'.repeat(60)}`;

describe('who can open', () => {
  it.each([
    [
      'no KMS key',
      WITHOUT_KMS,
      /encryption: |encryption\.kms: 0 of at least 1; add a KMS key, or write minKmsWraps: 0/,
    ],
    [
      'a 0 without a word',
      WITHOUT_KMS.replace('encryption:\n', 'encryption:\n  minKmsWraps: 0\n'),
      /encryption\.minKmsWraps: declines every KMS key without a word; say why in declineKms/,
    ],
    [
      'a word that says nothing',
      WITHOUT_KMS.replace('encryption:\n', 'encryption:\n  minKmsWraps: 0\n  declineKms: "yes"\n'),
      /encryption\.declineKms: too short for a reason/,
    ],
    [
      'a reason without the 0',
      sample('encryption:\n', 'encryption:\n  declineKms: no cloud at this site\n'),
      /encryption\.declineKms: declined and demanded at once; write minKmsWraps: 0 too/,
    ],
    [
      'fewer keys than demanded',
      sample('encryption:\n', 'encryption:\n  minKmsWraps: 2\n'),
      /encryption\.kms: 1 of at least 2/,
    ],
    [
      'fewer recipients than demanded',
      sample('encryption:\n', 'encryption:\n  minBreakGlass: 2\n'),
      /encryption\.breakGlass: 1 of at least 2/,
    ],
    [
      'post-quantum beside classic recipients',
      sample(RECIPIENT, `${RECIPIENT}, ${POST_QUANTUM}`),
      /encryption\.breakGlass: post-quantum and classic recipients together/,
    ],
    ['a recipient twice', sample(RECIPIENT, `${RECIPIENT}, ${RECIPIENT}`), /breakGlass\[1\]: stands here twice/],
  ])('%s is refused', (_what, text, complaint) => {
    expect(complaints(text)).toEqual([expect.stringMatching(complaint)]);
  });

  it('may be declined in words, one of the two', () => {
    const words = 'minKmsWraps: 0\n  declineKms: this site has no cloud account';
    expect(complaints(WITHOUT_KMS.replace('encryption:\n', `encryption:\n  ${words}\n`))).toEqual([]);
  });

  it('may not be nobody', () => {
    const text = SAMPLE.replace(
      /encryption:\n.*\n.*\n/,
      'encryption: { minKmsWraps: 0, minBreakGlass: 0, declineKms: nobody wants it here, declineBreakGlass: nobody wants it here }\n',
    );
    expect(complaints(text)).toEqual([expect.stringMatching(/encryption: nobody could open a snapshot/)]);
  });

  it('does not count the recipients of a file before it is read', () => {
    expect(
      complaints(
        sample(RECIPIENT, 'file:recipients.txt').replace('encryption:\n', 'encryption:\n  minBreakGlass: 2\n'),
      ),
    ).toEqual([]);
  });

  it("is judged after a cluster's own options were put over the block", () => {
    const own = `    encryption: { breakGlass: [${OTHER_RECIPIENT}], minBreakGlass: 2 }\n`;
    expect(complaints(SAMPLE + own)).toEqual([
      '18:19 clusters.prod-eu-1.encryption.breakGlass: 1 of at least 2; add a break-glass recipient, or write minBreakGlass: 0 and say why in declineBreakGlass',
    ]);
    expect(complaints(`${WITHOUT_KMS}    encryption: { kms: [{ keyId: ${KEY_ARN} }] }\n`)).toEqual([]);
  });
});

describe('a cluster', () => {
  it.each([
    [
      'sealKms',
      `    sealKms: { keyId: ${KEY_ARN} }\n`,
      /sealKms\.keyId: the seal of this cluster and its backups hang on one key/,
    ],
    [
      'kubernetes',
      '    kubernetes: { namespace: bao, service: bao }\n',
      /clusters\.prod-eu-1: needs one way to find its nodes/,
    ],
    ['tls', '    tls: { cert: file:c.pem }\n', /tls\.cert: half of a client certificate/],
    [
      'writePolicy',
      '    writePolicy: { quorum: 3 }\n',
      /writePolicy\.quorum: more copies than destinations; write at most 2/,
    ],
    ['writePolicy', '    writePolicy: some\n', /writePolicy: not a write policy; write all, quorum/],
    ['backup', '    backup: { maxFall: 10% }\n', /backup: above maxFall|backup\.warnFall: above maxFall/],
    ['backup', '    backup: { maxFall: 110% }\n', /backup\.maxFall: above 100%/],
    [
      'members',
      '    members: [{ id: a, address: "a:1" }, { id: a, address: "b:1" }]\n',
      /members\[1\]: stands here twice/,
    ],
  ])('may not have such %s (%s)', (_what, lines, complaint) => {
    expect(complaints(SAMPLE + lines)).toEqual([expect.stringMatching(complaint)]);
  });

  it('that logs in by certificate has one', () => {
    expect(complaints(sample('method: token, token: env:VAULT_TOKEN', 'method: cert'))).toEqual([
      expect.stringMatching(/auth\.method: a login by certificate without one; write tls\.cert and tls\.key/),
    ]);
  });

  it('names destinations that exist', () => {
    expect(complaints(sample('[primary, vaulted]', '[primary, vault]'))).toEqual([
      '17:29 clusters.prod-eu-1.destinations[1]: no such destination; did you mean vaulted?',
    ]);
  });
});

it.each([
  ['a cluster', 'clusters: { a: [] }\n'],
  ['signing', 'signing: []\n'],
])('%s that is a list is a mistake, and no rule looks into it', (_, text) => {
  expect(complaints(text).some((line) => /not (a|an) /.test(line))).toBe(true);
});

it('a signing section needs a key, or somebody to trust', () => {
  expect(complaints(sample('{ key: file:signing.pem }', '{}'))).toEqual([
    expect.stringMatching(/signing: no signing key and nobody trusted/),
  ]);
  expect(complaints(sample('{ key: file:signing.pem }', '{ trusted: [file:pub.pem] }'))).toEqual([]);
  expect(complaints(sample('file:signing.pem', `file:signing.pem, kms: { keyId: ${KEY_ARN} }`))).toEqual([
    expect.stringMatching(/signing\.kms: two signing keys/),
  ]);
});
