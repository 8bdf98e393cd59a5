import { createPrivateKey, createPublicKey } from 'node:crypto';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { clusterConfig, readRecipients } from '../../config/cluster-config.ts';
import type { Config } from '../../config/load.ts';
import { StrongroomError } from '../../core/errors.ts';
import { generateBreakGlass, generateSigningKey, writeSecretFile } from '../../crypt/generate.ts';
import { exportPem } from '../../crypt/sign.ts';
import { blankRecoveryPage, recoveryPageOf } from '../../recovery.ts';
import type { Context } from '../context.ts';
import type { Run } from '../define.ts';
import type { KeysGenerateFlags } from '../definitions/keys.ts';

/** What was made. `secret` is there only where it was asked for by --show. */
type MadeKey = {
  kind: 'break-glass' | 'signing';
  /** the recipient, or the public key as PEM */
  public: string;
  publicFile: string;
  secretFile: string;
  secret?: string;
};

const FILES = {
  'break-glass': { secret: 'break-glass.txt', public: 'break-glass.pub.txt' },
  signing: { secret: 'signing.pem', public: 'signing.pub.pem' },
} as const;

export const run: Run<KeysGenerateFlags> = async function (flags) {
  const directory = resolve(this.cwd, flags.output);
  // Read first: a mistake in the config must not be found after the keys were made.
  const config = flags.config === undefined ? null : await this.config(flags.config);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const kinds = flags.kind === 'all' ? (['break-glass', 'signing'] as const) : [flags.kind];
  // Half of the keys make no page that opens anything.
  const blank = flags.kind === 'all' ? ['blank'] : [];
  const clusters = config === null ? blank : Object.keys(config.clusters);
  const pages = clusters.map((cluster) => join(directory, `recovery-${cluster}.md`));
  await refuseExisting([
    ...kinds.flatMap((kind) => Object.values(FILES[kind]).map((name) => join(directory, name))),
    ...pages,
  ]);

  const keys: MadeKey[] = [];
  for (const kind of kinds) keys.push(await makeKey(kind, directory, flags));
  if (config !== null) await writePages(this, config, keys, pages);
  else if (pages[0] !== undefined) {
    const made = (kind: MadeKey['kind']) => keys.filter((key) => key.kind === kind).map((key) => key.public);
    const page = blankRecoveryPage({ breakGlass: made('break-glass'), signing: made('signing') });
    await writePublicFile(pages[0], page);
  }

  const document = { keys, recoveryPages: pages };
  this.output.result(document, () =>
    [...keys.flatMap(describeKey), ...pages.map((page) => `recovery page  ${page}`)].join('\n'),
  );
  this.output.say('');
  this.output.say('keep the secret files offline, in two places; the public halves belong into the config');
  if (pages.length > 0) this.output.say('print the recovery page for the safe: how to restore without strongroom');
  if (config === null) this.output.say('with --config <file> the names of your clusters and buckets are filled in');
};

async function makeKey(kind: MadeKey['kind'], directory: string, flags: KeysGenerateFlags): Promise<MadeKey> {
  const secretFile = join(directory, FILES[kind].secret);
  const publicFile = join(directory, FILES[kind].public);
  const made =
    kind === 'break-glass'
      ? await generateBreakGlass({ postQuantum: flags.postQuantum }).then(({ file, recipient }) => ({
          secret: file,
          publicHalf: recipient,
        }))
      : signingKey();
  await writeSecretFile(secretFile, made.secret);
  await writePublicFile(publicFile, `${made.publicHalf.trimEnd()}\n`);
  const shown = flags.show ? { secret: made.secret.reveal() } : {};
  return { kind, public: made.publicHalf, publicFile, secretFile, ...shown };
}

function signingKey() {
  const { privateKeyPem, publicKeyPem } = generateSigningKey();
  return { secret: privateKeyPem, publicHalf: publicKeyPem };
}

function describeKey(key: MadeKey): string[] {
  const lines = [
    `${key.kind} secret  ${key.secretFile} (only its owner may read it)`,
    `${key.kind} public  ${key.publicFile}`,
    key.public.trimEnd(),
  ];
  return key.secret === undefined ? lines : [...lines, key.secret.trimEnd()];
}

async function writePages(
  context: Context,
  config: Config,
  keys: readonly MadeKey[],
  files: readonly string[],
): Promise<void> {
  const made = (kind: MadeKey['kind']) => keys.filter((key) => key.kind === kind).map((key) => key.public);
  const signers = [...new Set([...(await configuredSigners(context, config)), ...made('signing')])];
  if (signers.length === 0) {
    throw new StrongroomError('E_PRECONDITION', `${config.file} names no public key for the recovery page`, {
      hint: 'the keys are made; put the public key of signing.kms into signing.trusted, and run it with another --output',
    });
  }
  for (const [index, name] of Object.keys(config.clusters).entries()) {
    const cluster = clusterConfig(config, name);
    const breakGlass = await readRecipients(cluster.encryption.breakGlass, context.signal);
    const recipients = [...new Set([...breakGlass, ...made('break-glass')])];
    if (new Set(recipients.map((recipient) => /^age1(?:tag)?pq1/.test(recipient))).size > 1) {
      context.output.warn(
        `${name}: post-quantum and classic recipients do not go together; replace all of encryption.breakGlass`,
      );
    }
    // The first destination is also the first that a restore reads.
    const [first] = cluster.destinations;
    if (first === undefined) throw new StrongroomError('E_BUG', `cluster ${name} has no destination`);
    const page = recoveryPageOf(cluster, first.options, { breakGlass: recipients, signing: signers });
    await writePublicFile(files[index] ?? '', page);
  }
}

/** PEM public keys that the config trusts: the trusted ones, and the public half of its own signing key. */
async function configuredSigners(context: Context, config: Config): Promise<string[]> {
  const trusted = await Promise.all(config.signing.trusted.map((key) => key.resolve(context.signal)));
  const own = config.signing.key;
  if (own === undefined) return trusted.map((pem) => `${pem.trimEnd()}\n`);
  const secret = await own.resolve(context.signal);
  try {
    trusted.push(exportPem(createPublicKey(createPrivateKey(secret.reveal()))));
  } catch {
    // No cause: what the parser says may repeat what it read.
    throw new StrongroomError('E_CONFIG_INVALID', `${own.source} holds no PEM private key`, {
      hint: 'strongroom keys generate --kind signing makes one',
    });
  }
  return trusted.map((pem) => `${pem.trimEnd()}\n`);
}

async function refuseExisting(files: readonly string[]): Promise<void> {
  for (const file of files) {
    const isThere = await stat(file).then(
      () => true,
      () => false,
    );
    if (isThere) {
      throw new StrongroomError('E_PRECONDITION', `${file} exists already; nothing was made`, {
        hint: 'name another folder with --output: a key is never overwritten',
      });
    }
  }
}

async function writePublicFile(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'wx', mode: 0o644, flush: true });
  } catch (e) {
    throw new StrongroomError('E_PRECONDITION', `${file} cannot be written`, { cause: e });
  }
}
