/** The documents of the corpus as the readers get them. */
import { readFileSync } from 'node:fs';
import { Secret } from '../../src/core/secret.ts';

const read = (name: string): Buffer => readFileSync(new URL(name, import.meta.url));

export const MANIFEST = read('documents/newest.manifest');
export const SIGNATURE = read('documents/newest.sig');
export const SIDECAR = read('documents/newest.keys');
/** As SIDECAR, but of another identity, wrapped for the same break-glass recipient. */
export const FOREIGN_SIDECAR = read('documents/foreign.keys');
export const TRUSTED = [read('documents/signer.pub.pem').toString()];
/** Break-glass identity of SIDECAR and of the containers. Opens them, and nothing else in the world. */
export const IDENTITY = new Secret(read('containers/identity.txt').toString().trim());

const WORDS =
  'null true -1 0 1e999 9007199254740993 [] {} "" [[[[[[[[ {"a": "\\ud800" \\u0000 __proto__ constructor 1970-01-01T00:00:00Z ' +
  'arn:aws:kms:eu-west-1:123456789012:key/x age1 -----BEGIN openbao vault sealedSums wraps missing aws-kms backup safety';

/** What JSON readers stumble over, and the values that the documents know. */
export const JSON_TOKENS = WORDS.split(' ').map((word) => Buffer.from(word));
