/** A small good config, to be broken in one place at a time. */

import { type Config, parseConfig } from '../../../src/config/load.ts';
import { StrongroomError } from '../../../src/core/errors.ts';

export const KEY_ARN = 'arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab';
export const OTHER_ARN = 'arn:aws:kms:eu-west-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab';
export const RECIPIENT = 'age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq';
export const OTHER_RECIPIENT = 'age10t6vmsjtjqdcem99dtzadzvxnsz8fwepn00vhsn8lsehrkvwtcjsku9r7r';

export const SAMPLE = `version: 1
destinations:
  primary:
    type: s3
    bucket: backups-a
    region: eu-central-1
    credentials: { accessKeyId: env:AK, secretAccessKey: env:SK }
  vaulted: { type: directory, path: airgap }
encryption:
  kms: [{ keyId: ${KEY_ARN} }]
  breakGlass: [${RECIPIENT}]
signing: { key: file:signing.pem }
clusters:
  prod-eu-1:
    nodes: [https://bao-0:8200, https://bao-1:8200/]
    auth: { method: token, token: env:VAULT_TOKEN }
    destinations: [primary, vaulted]
`;

/** SAMPLE with `from` (which must be in it) replaced. */
export function sample(from: string, to: string): string {
  if (!SAMPLE.includes(from)) throw new Error(`the sample has no ${from}`);
  return SAMPLE.replace(from, to);
}

export function parse(text: string, env: Record<string, string> = {}): Config {
  return parseConfig(text, '/etc/sr/strongroom.yaml', { env: { HOME: '/home/sr', ...env } });
}

/** The lines of the E_CONFIG_INVALID for `text`, without the file's name; a good config has none. */
export function complaints(text: string): string[] {
  try {
    parse(text);
    return [];
  } catch (e) {
    if (!(e instanceof StrongroomError) || e.code !== 'E_CONFIG_INVALID') throw e;
    return e.message
      .split('\n')
      .filter((line) => line.startsWith('/etc/sr/'))
      .map((line) => line.replace('/etc/sr/strongroom.yaml:', ''));
  }
}
