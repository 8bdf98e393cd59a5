/** The page for the safe, and the README.md in the bucket: recovery with standard programs, word by word. */
import { StrongroomError } from '../core/errors.ts';

export type RecoveryPage = {
  cluster: string;
  /**
   * Where the objects are. `root` is the folder above the clusters' (`<prefix>v1`, no slash at its end); for a directory it is
   * a path. The objects below are `<cluster>/{manifests,sigs,keys,data}/<yyyy>/<mm>/<dd>/<time>-<snapshot>.*`.
   */
  location:
    | { type: 's3'; bucket: string; region: string; root: string; endpoint?: string }
    | { type: 'directory'; root: string };
  /** key of one snapshot's manifest, as the store knows it; without it the commands find the newest */
  manifestKey?: string;
  /** break-glass recipients in the header of the data */
  breakGlass: readonly string[];
  kms: readonly { keyId: string; region: string; endpoint?: string }[];
  /** PEM; any of them may have signed */
  signingPublicKeys: readonly string[];
  now: Date;
};

/**
 * Markdown with the commands of the worst day, real names filled in; needs a POSIX shell, `age`, `jq`, `base64`, `openssl`,
 * `aws`, GNU `split`, and none of strongroom.
 *
 * Each block to execute is fenced as `sh run=<name>`, in the order of the page: `find`, `fetch`, `signature`, `whole`, then one
 * of `kms-<n>`, `lost-keys-json-<n>`, `break-glass` and `break-glass-wrap`, then `plain`. They share shell variables. Tests
 * extract and run these very words. E_CONFIG_INVALID for a value with control characters.
 */
export function recoveryPage(page: RecoveryPage): string {
  const { location } = page;
  const isS3 = location.type === 's3';
  return [
    `# Recovery of ${page.cluster} without strongroom`,
    '',
    `Written on ${page.now.toISOString()}. A copy of this page belongs into the safe, on paper, beside a break-glass identity.`,
    `You need a POSIX shell, \`age\`${isPostQuantum(page) ? ' **1.3 or newer**' : ''}, \`jq\`, \`openssl\`, \`base64\`, \`split\`${isS3 || page.kms.length > 0 ? ' and `aws`' : ''}. Work in an empty directory on an encrypted or memory disk, in one shell.`,
    'What comes out is still locked by the seal of the cluster: you also need its unseal key shares, or its seal key.',
    '',
    '## 1. Find and fetch the snapshot',
    '',
    ...(isS3 && location.endpoint !== undefined
      ? ['Where the endpoint wants path-style addresses: `aws configure set default.s3.addressing_style path`.', '']
      : []),
    ...block('find', find(page)),
    ...block('fetch', fetch(page)),
    '## 2. Is the manifest authentic?',
    '',
    'Anyone who may write to the store can plant a file for a public key. **Take the public key from the paper in the safe, never',
    'from the store itself.** One line must answer `Verified OK`, and the last one `true`. Otherwise stop.',
    '',
    ...block('signature', signature(page)),
    '## 3. Is the file the one that the manifest names?',
    '',
    ...block('whole', [
      `split -b "$(jq -r .ciphertext.partSize "$N.json")" --filter='openssl dgst -sha256 -binary' "$N.snap.age" | openssl dgst -sha256 -binary | base64 > whole.txt`,
      `jq -r '.ciphertext.sha256Composite | split("-")[0]' "$N.json" | cmp - whole.txt && echo 'same file'`,
    ]),
    '## 4. Decrypt, in one of these ways',
    '',
    'Each ends without a word when all is well. If `age` reports an error, delete the `.snap` file and try the next way.',
    '',
    ...page.kms.flatMap((key, index) => kmsWay(page, key, index + 1)),
    ...breakGlassWay(page),
    '## 5. Is the result complete?',
    '',
    '`age` has authenticated every byte; this guards against a disk that ran full.',
    '',
    ...block('plain', [`test "$(wc -c < "$N.snap")" -eq "$(jq .archive.bytes "$N.json")" && echo 'whole snapshot'`]),
    'The `.snap` file is an ordinary raft snapshot. Restore it into a **new and isolated** cluster first: a restored cluster',
    'acts on its old leases. `vault operator raft snapshot restore -force X.snap` (or `bao …`), then unseal with the shares or',
    'the seal key of the time of the snapshot.',
    '',
    '## Who can open',
    '',
    ...page.breakGlass.map((recipient) => `- break-glass \`${checked(recipient)}\``),
    ...page.kms.map((key) => `- KMS key \`${checked(key.keyId)}\` in ${checked(key.region)}`),
    '',
    'A KMS key needs the encryption context `cluster=<cluster>,snapshot=<snapshot>`, and a role with kms:Decrypt.',
    '',
  ].join('\n');
}

function find(page: RecoveryPage): string[] {
  const { location } = page;
  const names = [`CLUSTER=${quote(page.cluster)}`, `ROOT=${quote(location.root)}`];
  const derived = ['N=${D##*/}; SNAPSHOT=${N##*-}', 'echo "$N"'];
  const newest = (list: string): string[] => [`M=$(${list})`, 'D=${M#"$ROOT/$CLUSTER/manifests/"}; D=${D%.json}'];
  const one = page.manifestKey === undefined ? undefined : [`D=${quote(belowManifests(page, page.manifestKey))}`];
  if (location.type === 'directory') {
    const list = 'find "$ROOT/$CLUSTER/manifests" -name "*.json" | LC_ALL=C sort | tail -n 1';
    return [...names, ...(one ?? newest(list)), ...derived];
  }
  const list =
    `aws s3api list-objects-v2 --region ${quote(location.region)} --bucket "$BUCKET" ` +
    `--prefix "$ROOT/$CLUSTER/manifests/" --output json | jq -r '.Contents[-1].Key'`;
  const endpoint = location.endpoint === undefined ? [] : [`export AWS_ENDPOINT_URL_S3=${quote(location.endpoint)}`];
  return [...names, `BUCKET=${quote(location.bucket)}`, ...endpoint, ...(one ?? newest(list)), ...derived];
}

/** `2026/11/22/<time>-<snapshot>` of a manifest's key. */
function belowManifests(page: RecoveryPage, key: string): string {
  const folder = `/${page.cluster}/manifests/`;
  const at = `/${key}`.indexOf(folder);
  if (at >= 0 && key.endsWith('.json')) return `/${key}`.slice(at + folder.length, -'.json'.length);
  throw new StrongroomError('E_CONFIG_INVALID', `${key} is not the key of a manifest of ${page.cluster}`);
}

function fetch(page: RecoveryPage): string[] {
  const objects = [
    ['manifests', 'json'],
    ['sigs', 'json.sig'],
    ['keys', 'keys.json'],
    ['data', 'snap.age'],
  ];
  const { location } = page;
  return objects.map(([kind, suffix]) => {
    const path = `$ROOT/$CLUSTER/${kind}/$D.${suffix}`;
    return location.type === 'directory'
      ? `cp "${path}" "$N.${suffix}"`
      : `aws s3 cp --region ${quote(location.region)} --no-progress "s3://$BUCKET/${path}" "$N.${suffix}"`;
  });
}

function signature(page: RecoveryPage): string[] {
  const files = page.signingPublicKeys.map((_, index) => `signer-${index + 1}.pub.pem`);
  return [
    ...page.signingPublicKeys.flatMap((pem, index) => [
      `cat > ${files[index]} <<'PEM'`,
      ...pem.trim().split('\n').map(checked),
      'PEM',
    ]),
    `${files.map((file) => `openssl dgst -sha256 -verify ${file} -signature "$N.json.sig" "$N.json"`).join(' || ')} &&`,
    `  jq -e --arg c "$CLUSTER" --arg s "$SNAPSHOT" '.cluster == $c and .snapshot == $s' "$N.json"`,
  ];
}

function kmsWay(page: RecoveryPage, key: RecoveryPage['kms'][number], n: number): string[] {
  const { location } = page;
  const open =
    `aws kms decrypt ${key.endpoint === undefined ? '' : `--endpoint-url ${quote(key.endpoint)} `}--region ${quote(key.region)} --key-id ${quote(key.keyId)} --ciphertext-blob fileb://wrap.bin ` +
    '--encryption-context "cluster=$CLUSTER,snapshot=$SNAPSHOT" --query Plaintext --output text ' +
    '| base64 -d | age -d -i - -o "$N.snap" "$N.snap.age"';
  const head = [
    `### With the KMS key ${checked(key.keyId)}`,
    '',
    'The identity goes from KMS to `age` through a pipe and never touches the disk.',
    '',
    ...block(`kms-${n}`, [
      `jq -r --arg key ${quote(key.keyId)} '.wraps[] | select(.keyId == $key).ciphertext' "$N.keys.json" | base64 -d > wrap.bin`,
      open,
    ]),
  ];
  if (location.type === 'directory') return head;
  return [
    ...head,
    'When `keys.json` is lost, the wrap is in the metadata of the data object too:',
    '',
    ...block(`lost-keys-json-${n}`, [
      `aws s3api head-object --region ${quote(location.region)} --bucket "$BUCKET" --key "$ROOT/$CLUSTER/data/$D.snap.age" --output json ` +
        `| jq -r --arg key ${quote(key.keyId)} '.Metadata[] | select(startswith($key + " ")) | split(" ")[1]' | base64 -d > wrap.bin`,
      open,
    ]),
  ];
}

function breakGlassWay(page: RecoveryPage): string[] {
  if (page.breakGlass.length === 0)
    return ['There is no break-glass recipient: without the KMS keys this is lost.', ''];
  return [
    '### With a break-glass identity, and nothing else',
    '',
    'Put the identity (`AGE-SECRET-KEY-…`) into `breakglass.txt`.',
    '',
    ...block('break-glass', ['age -d -i breakglass.txt -o "$N.snap" "$N.snap.age"']),
    'If `age` answers that no identity matches, the identity may be newer than the snapshot; its wrap is then in `keys.json`:',
    '',
    ...block('break-glass-wrap', [
      `jq -r --arg r "$(age-keygen -y breakglass.txt)" '.wraps[] | select(.recipient == $r).ciphertext' "$N.keys.json" ` +
        '| age -d -i breakglass.txt | age -d -i - -o "$N.snap" "$N.snap.age"',
    ]),
  ];
}

function block(name: string, lines: readonly string[]): string[] {
  return [`\`\`\`sh run=${name}`, ...lines, '```', ''];
}

function isPostQuantum(page: RecoveryPage): boolean {
  return page.breakGlass.some((recipient) => /^age1(?:tag)?pq1/.test(recipient));
}

/** Single quotes, so that a shell takes every character as it is. */
function quote(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : `'${checked(value).replaceAll("'", `'\\''`)}'`;
}

/** A line break would end a quoted word's line, or a Markdown fence: no name has one. */
function checked(value: string): string {
  if (!/[\p{Cc}`]/u.test(value)) return value;
  throw new StrongroomError(
    'E_CONFIG_INVALID',
    'a name for the recovery page has a control character or a backquote in it',
  );
}
