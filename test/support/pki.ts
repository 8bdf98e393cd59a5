/** Certificates for the servers of the harness: good, expired, for another host, of another authority. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

export type CertificateOptions = {
  /** names the files and the subject */
  name: string;
  /** subject alternative names; default 127.0.0.1 and localhost */
  hosts?: readonly string[];
  /** ended yesterday */
  expired?: boolean;
};

export type Certificate = { certFile: string; keyFile: string };

export type Pki = {
  /** the authority's certificate */
  caPem: string;
  caFile: string;
  /** a server (and client) certificate of this authority; its files live as long as the directory */
  issue(options: CertificateOptions): Promise<Certificate>;
};

const run = promisify(execFile);
const DAY_MS = 86_400_000;

/**
 * A new authority in a directory of its own (created; the caller removes it). For "signed by somebody else" make two.
 * Needs the `openssl` command, 1.1.1 or later; throws with its words when it fails.
 */
export async function createPki(directory: string): Promise<Pki> {
  await mkdir(directory, { recursive: true });
  const file = (name: string) => join(directory, name);
  await Promise.all([writeFile(file('index.txt'), ''), writeFile(file('ca.cnf'), CA_CONFIG)]);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-config', 'ca.cnf'];
  const openssl = async (...args: string[]) => {
    await run('openssl', args, { cwd: directory });
  };
  await openssl(
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-days',
    '90',
    '-subj',
    '/CN=strongroom test authority',
    '-extensions',
    'authority',
  );
  // `openssl ca` keeps an index file: two at a time would lose an entry.
  let turn: Promise<unknown> = Promise.resolve();
  const issue = async ({ name, hosts = ['127.0.0.1', 'localhost'], expired = false }: CertificateOptions) => {
    const names = hosts.map((host) => `${/^[\d.]+$|:/.test(host) ? 'IP' : 'DNS'}:${host}`).join(',');
    await writeFile(file(`${name}.ext`), `${LEAF_EXTENSIONS}subjectAltName=${names}\n`);
    await openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    const now = Date.now();
    const [start, end] = expired ? [now - 3 * DAY_MS, now - DAY_MS] : [now - DAY_MS, now + 60 * DAY_MS];
    await openssl(
      'ca',
      '-batch',
      '-notext',
      '-config',
      'ca.cnf',
      '-in',
      `${name}.csr`,
      '-out',
      `${name}.pem`,
      '-extfile',
      `${name}.ext`,
      '-startdate',
      asn1Time(start),
      '-enddate',
      asn1Time(end),
    );
    return { certFile: file(`${name}.pem`), keyFile: file(`${name}.key`) };
  };
  return {
    caPem: await readFile(file('ca.pem'), 'utf8'),
    caFile: file('ca.pem'),
    issue: async (options) => {
      const mine = turn.then(() => issue(options));
      turn = mine.catch(() => undefined);
      return mine;
    },
  };
}

const LEAF_EXTENSIONS = `basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
`;

const CA_CONFIG = `[req]
distinguished_name=subject
[subject]
[authority]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
[ca]
default_ca=own
[own]
dir=.
database=index.txt
certificate=ca.pem
private_key=ca.key
new_certs_dir=.
default_md=sha256
policy=any
rand_serial=yes
unique_subject=no
[any]
commonName=supplied
`;

function asn1Time(ms: number): string {
  return new Date(ms)
    .toISOString()
    .replace(/[-:T]/g, '')
    .replace(/\.\d+Z$/, 'Z');
}
