/** The part of the schema about clusters: how to reach one, log in, and what is promised for it. */
import { z } from 'zod';
import { certificate, duration, list, origin, path, percent, rule, secret, text, word } from './fields.ts';
import { encryptionOverride, kmsKey } from './keys.ts';
import { membershipWindow } from './membership.ts';
import { checkKeepsSomething, retention } from './retention.ts';
import { schedule } from './schedule.ts';

const mount = (name: string) => word().prefault(name).describe('path of the auth method, without auth/');
const role = () => word().describe('role to log in as');

const auth = z.discriminatedUnion('method', [
  z.strictObject({ method: z.literal('token'), token: secret().describe('a token; used as it is') }),
  z.strictObject({
    method: z.literal('approle'),
    mount: mount('approle'),
    roleId: text(/^\S+$/, 'a role id').describe('role id; no secret by itself'),
    secretId: secret().describe('secret id'),
  }),
  z.strictObject({
    method: z.literal('kubernetes'),
    mount: mount('kubernetes'),
    role: role(),
    jwtFile: path()
      .prefault('/var/run/secrets/kubernetes.io/serviceaccount/token')
      .describe('token of the service account; read at every login'),
  }),
  z.strictObject({
    method: z.literal('jwt'),
    mount: mount('jwt'),
    role: role().exactOptional().describe("role to log in as; default: the mount's default_role"),
    jwt: secret().describe('the JWT; read at every login'),
  }),
  z.strictObject({
    method: z.literal('cert'),
    mount: mount('cert'),
    role: role().exactOptional().describe('name of the certificate role; default: whichever fits'),
  }),
  z.strictObject({
    method: z.literal('userpass'),
    mount: mount('userpass'),
    username: word().describe('user name'),
    password: secret().describe('password'),
  }),
]);

const tls = z
  .strictObject({
    ca: certificate().exactOptional().describe('PEM certificates of the CA; default: those of the system'),
    cert: certificate().exactOptional().describe('PEM client certificate, with its chain'),
    key: secret().exactOptional().describe('PEM key of the client certificate'),
    serverName: word().exactOptional().describe("name to expect in the nodes' certificates; default: the host asked"),
    dangerouslySkipVerification: z
      .boolean()
      .prefault(false)
      .describe('accept any certificate: whoever is on the way gets the token and the snapshot'),
  })
  .check(
    rule(['cert', 'key'], (value, report) => {
      if ((value.cert === undefined) === (value.key === undefined)) return;
      report([value.cert === undefined ? 'key' : 'cert'], 'half of a client certificate; write both cert and key');
    }),
  );

const kubernetes = z
  .strictObject({
    namespace: word().describe('Kubernetes namespace of the pods'),
    service: word().exactOptional().describe('headless service whose endpoints are the nodes'),
    labelSelector: word().exactOptional().describe('label selector of the pods, instead of a service'),
    port: z.int().min(1).max(65535).prefault(8200).describe('API port'),
    scheme: z.enum(['https', 'http']).prefault('https').describe('scheme of the API'),
  })
  .check(
    rule(['service', 'labelSelector'], (value, report) => {
      if ((value.service === undefined) === (value.labelSelector === undefined)) {
        report([], 'needs one way to find the pods; write either service or labelSelector');
      }
    }),
  );

const writePolicy = z
  .union([z.literal('all'), z.literal('quorum'), z.strictObject({ quorum: z.int().min(1) })], {
    error: (issue) =>
      issue.input === undefined ? undefined : 'not a write policy; write all, quorum or { quorum: 2 }',
  })
  .prefault('all');

const backup = z
  .strictObject({
    attempts: z.int().min(1).max(10).prefault(3).describe('tries in all, the first one included'),
    snapshotTimeout: duration().prefault('30m').describe('longest time for one transfer from the active node'),
    maxFall: percent()
      .prefault('50%')
      .describe('fails when size or record count is lower than in the last good snapshot by more than this'),
    warnFall: percent().prefault('20%').describe('warns from here on'),
  })
  .check(
    rule(['maxFall', 'warnFall'], (value, report) => {
      if (value.warnFall > value.maxFall) report(['warnFall'], 'above maxFall; write less, or it never warns');
    }),
  );

const limits = z.strictObject({
  maxAge: duration()
    .exactOptional()
    .describe('oldest that the newest backup in every destination may be; default: two periods of schedule.backup'),
  maxProofAge: duration()
    .exactOptional()
    .describe(
      'oldest that the last proof in each destination may be; default: two periods of schedule.verify and 7d at least, without it none is asked for',
    ),
});

export const cluster = z
  .strictObject({
    nodes: list(origin('a node'), (node) => node)
      .min(1)
      .exactOptional()
      .describe('API addresses of all nodes; each is asked, so no load balancer'),
    kubernetes: kubernetes.exactOptional().describe('find the nodes in Kubernetes, instead of `nodes`'),
    tls: tls.prefault({}).describe('how the nodes are trusted'),
    auth: auth.describe('how to log in'),
    namespace: z
      .string()
      .regex(/^[^/\s][^\s]*$/, { error: 'not a namespace; write its path without a slash before it, such as admin/' })
      .exactOptional()
      .describe('namespace of the login; snapshots always concern the root namespace'),
    members: list(
      z.strictObject({
        id: word().describe("node id, as in the server's configuration"),
        address: z
          .string()
          .regex(/^\S+:\d{1,5}$/, { error: 'not a raft address; write host:port, such as bao-0:8201' })
          .describe('raft address'),
      }),
      (member) => member.id,
    )
      .prefault([])
      .describe(
        'inventory of the raft peers: a backup warns when the cluster differs, and strongroom check is critical',
      ),
    membershipWindows: list(membershipWindow, ({ from, to }) => `${from.toISOString()} ${to.toISOString()}`)
      .prefault([])
      .describe('when raft members may change; a change outside of these, and not in the inventory, is critical'),
    sealKms: kmsKey
      .exactOptional()
      .describe("the seal's own KMS key: preflight tries it, and refuses it as a wrapping key"),
    destinations: list(word(), (name) => name)
      .min(1)
      .describe('names of the destinations that get every backup'),
    writePolicy: writePolicy.describe('how many destinations must have it: all, quorum (a majority) or { quorum: n }'),
    prove: z
      .enum(['checksum', 'read'])
      .prefault('checksum')
      .describe('after the upload: compare the checksums of the store, or read everything back and hash it'),
    encryption: encryptionOverride.exactOptional().describe('replaces options of the top-level block for this cluster'),
    backup: backup.prefault({}).describe('limits of a backup'),
    limits: limits.exactOptional().describe('what strongroom check and serve hold the cluster to'),
    schedule: schedule
      .exactOptional()
      .describe('when the jobs run that strongroom worker starts; without it none does'),
    retention: retention
      .exactOptional()
      .describe('which backups are kept; without this block everything is, and nothing is ever pruned'),
  })
  .check(
    rule(['nodes', 'kubernetes'], (value, report) => {
      if ((value.nodes === undefined) === (value.kubernetes === undefined)) {
        report([], 'needs one way to find its nodes; write either nodes or kubernetes');
      }
    }),
    rule(['auth', 'tls'], (value, report) => {
      if (value.auth.method === 'cert' && value.tls.cert === undefined) {
        report(['auth', 'method'], 'a login by certificate without one; write tls.cert and tls.key');
      }
    }),
    rule(['destinations', 'writePolicy'], (value, report) => {
      const { writePolicy: policy, destinations } = value;
      if (typeof policy === 'object' && policy.quorum > destinations.length) {
        report(['writePolicy', 'quorum'], `more copies than destinations; write at most ${destinations.length}`);
      }
    }),
    rule(['destinations', 'retention'], (value, report) => {
      if (value.retention === undefined) return;
      checkKeepsSomething(value.retention, value.destinations, (path, message) =>
        report(['retention', ...path], message),
      );
    }),
  )
  .transform(({ writePolicy: policy, ...rest }) => ({
    ...rest,
    /** copies that must be stored and proven for a backup to count, of `of` destinations */
    writePolicy: { copies: copiesNeeded(policy, rest.destinations.length), of: rest.destinations.length },
  }));

function copiesNeeded(policy: 'all' | 'quorum' | { quorum: number }, destinations: number): number {
  if (policy === 'all') return destinations;
  return policy === 'quorum' ? Math.floor(destinations / 2) + 1 : policy.quorum;
}
