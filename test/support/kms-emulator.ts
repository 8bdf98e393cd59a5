/**
 * A KMS for tests and for trying things out: AWS JSON 1.1 over HTTP on 127.0.0.1, real cryptography, real key states,
 * and faults on demand. It checks no signatures: the credential scope of a request says which region and which access
 * key it is from, nothing proves it.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { KmsError } from './kms-errors.ts';
import { type Fault, Faults, Grants, NoAnswer, type SetFault } from './kms-faults.ts';
import { cancelDeletion, KeyStore, type KmsKey, type NewKey, scheduleDeletion, setEnabled } from './kms-keys.ts';
import { type Call, OPERATIONS } from './kms-operations.ts';
import { type Input, isOperation, type Operation, SCHEMAS } from './kms-schemas.ts';
import { loadKeys, saveKeys } from './kms-state.ts';

/** One request as it was answered. Never holds plaintext, ciphertext or signatures. */
export type KmsCall = {
  operation: string;
  region: string;
  accessKeyId: string;
  /** ARN of the (first) key used; undefined when the call never got that far */
  keyArn: string | undefined;
  context: Record<string, string> | undefined;
  /** of Sign and Verify: what was asked for, as sent */
  signing?: { algorithm: string; messageType: string };
  /** `ok`, the name of the refusal, `hang` or `refuse` */
  outcome: string;
};

export type KmsOptions = {
  /** default: a free one; kept over stop and start */
  port?: number;
  /** keys are read from and written to this file; default: memory only */
  stateFile?: string;
};

const DEFAULT_REGION = 'us-east-1';
// The largest real request is Verify: 4 KiB message, 6 KiB signature, in base64.
const MAX_BODY_BYTES = 64 * 1024;
const MUTATING = new Set<Operation>([
  'CreateKey',
  'ReplicateKey',
  'EnableKey',
  'DisableKey',
  'ScheduleKeyDeletion',
  'CancelKeyDeletion',
  'RotateKeyOnDemand',
  'CreateAlias',
]);

/** A started emulator. The caller disposes of it. */
export async function startKms(options: KmsOptions = {}): Promise<KmsEmulator> {
  const kms = new KmsEmulator(options);
  await kms.start();
  return kms;
}

export class KmsEmulator implements AsyncDisposable {
  readonly #keys: KeyStore;
  readonly #faults = new Faults();
  readonly #grants = new Grants();
  readonly #calls: KmsCall[] = [];
  readonly #stateFile: string | undefined;
  readonly #sockets = new Set<Socket>();
  #port: number;
  #server: Server | undefined;

  constructor(options: KmsOptions = {}) {
    this.#port = options.port ?? 0;
    this.#stateFile = options.stateFile;
    this.#keys = options.stateFile === undefined ? new KeyStore() : loadKeys(options.stateFile);
  }

  /** `http://127.0.0.1:port`: the endpoint for SDKs and for `seal "awskms"`. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Listens again on the port of the first start, with the same keys. Does nothing while it runs. */
  async start(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer((request, response) => void this.#serve(request, response));
    server.keepAliveTimeout = 60_000;
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new TypeError('the emulator has no port');
    this.#port = address.port;
    this.#server = server;
  }

  /** Closes the port and destroys every connection, answered or not: clients get ECONNREFUSED from now on. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, 'close');
    server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Every request answered so far, oldest first. */
  get calls(): readonly KmsCall[] {
    return this.#calls;
  }

  clearCalls(): void {
    this.#calls.length = 0;
  }

  /** Makes matching requests fail until removed; the first matching fault wins. */
  fail(fault: Fault): SetFault {
    return this.#faults.add(fault);
  }

  /** Removes every fault. */
  heal(): void {
    this.#faults.clear();
  }

  /** The access key may call only what is granted; give a key id or ARN to bind the right to one key. Adds up. */
  grant(accessKeyId: string, operations: readonly Operation[], keyId?: string): void {
    this.#grants.grant(accessKeyId, operations, keyId);
  }

  /** The access key may call everything again. */
  revoke(accessKeyId: string): void {
    this.#grants.revoke(accessKeyId);
  }

  /** Makes a key without a request (nothing is recorded). Returns its ARN. */
  createKey(options: NewKey & { region?: string; alias?: string } = {}): string {
    const key = this.#keys.create(options.region ?? DEFAULT_REGION, options);
    if (options.alias !== undefined) this.#keys.setAlias(key, options.alias);
    this.#save();
    return key.arn;
  }

  /** A replica of a multi-Region primary in another region. Returns the ARN of the replica. */
  replicateKey(arn: string, region: string): string {
    return this.#change(arn, (key) => this.#keys.replicate(key, region).arn);
  }

  disableKey(arn: string): void {
    this.#change(arn, (key) => setEnabled(key, false));
  }

  enableKey(arn: string): void {
    this.#change(arn, (key) => setEnabled(key, true));
  }

  scheduleKeyDeletion(arn: string, days = 30): void {
    this.#change(arn, (key) => scheduleDeletion(key, days));
  }

  cancelKeyDeletion(arn: string): void {
    this.#change(arn, cancelDeletion);
  }

  /** The end of the waiting period, now: what was encrypted under it alone is lost for good. */
  destroyKey(arn: string): void {
    this.#change(arn, (key) => {
      key.state = 'PendingDeletion';
      key.deletionAt = Date.now();
    });
  }

  #change<T>(arn: string, change: (key: KmsKey) => T): T {
    const result = change(this.#keys.get(arn.split(':')[3] ?? '', arn));
    this.#save();
    return result;
  }

  #save(): void {
    if (this.#stateFile !== undefined) saveKeys(this.#stateFile, this.#keys);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call: KmsCall = { ...sender(request), keyArn: undefined, context: undefined, outcome: 'ok' };
    try {
      const output = this.#answer(request, await readBody(request), call);
      this.#calls.push(call);
      reply(response, 200, output);
    } catch (e) {
      call.outcome = e instanceof NoAnswer ? e.kind : e instanceof Error ? e.name : 'unknown';
      this.#calls.push(call);
      if (e instanceof NoAnswer) {
        if (e.kind === 'refuse') request.socket.destroy();
      } else if (e instanceof KmsError) {
        reply(response, e.status, { __type: e.name, message: e.message });
      } else {
        reply(response, 500, { __type: 'KMSInternalException', message: String(e) });
      }
    }
  }

  #answer(request: IncomingMessage, body: string, call: KmsCall): Record<string, unknown> {
    const { operation, region, accessKeyId } = call;
    if (request.method !== 'POST' || !isOperation(operation)) {
      throw new KmsError('UnknownOperationException', `unknown operation ${operation}`);
    }
    this.#faults.strike({ operation, region });
    if (accessKeyId === '') throw new KmsError('MissingAuthenticationTokenException', 'Missing Authentication Token');
    this.#grants.check(accessKeyId, operation);
    const input = parse(body);
    if (operation === 'Sign' || operation === 'Verify') call.signing = signingOf(input);
    const output = run(operation, input, {
      region,
      keys: this.#keys,
      use: (key, context) => {
        call.keyArn ??= key.arn;
        if (context !== undefined) call.context ??= { ...context };
        this.#faults.strike({ operation, region, key });
        this.#grants.check(accessKeyId, operation, key);
      },
    });
    if (MUTATING.has(operation)) this.#save();
    return output;
  }
}

function signingOf(input: unknown): { algorithm: string; messageType: string } {
  const { SigningAlgorithm, MessageType } = input as { SigningAlgorithm?: unknown; MessageType?: unknown };
  return { algorithm: String(SigningAlgorithm), messageType: String(MessageType) };
}

function run<O extends Operation>(operation: O, body: unknown, call: Call): Record<string, unknown> {
  const parsed = SCHEMAS[operation].safeParse(body);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new KmsError('ValidationException', `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`);
  }
  return OPERATIONS[operation](call, parsed.data as Input<O>);
}

/** Region and access key stand in the credential scope: `Credential=AKID/20260102/eu-central-1/kms/aws4_request`. */
function sender(request: IncomingMessage): Pick<KmsCall, 'operation' | 'region' | 'accessKeyId'> {
  const scope = /Credential=([^/,\s]+)\/\d{8}\/([^/]+)\/kms\//.exec(request.headers.authorization ?? '');
  const target = request.headers['x-amz-target'];
  return {
    operation: typeof target === 'string' ? target.replace(/^TrentService\./, '') : '',
    region: scope?.[2] ?? DEFAULT_REGION,
    accessKeyId: scope?.[1] ?? '',
  };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    total += chunk.length;
    if (total > MAX_BODY_BYTES) throw new KmsError('ValidationException', 'the request is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch {
    throw new KmsError('SerializationException', 'the body is not JSON');
  }
}

function reply(response: ServerResponse, status: number, body: Record<string, unknown>): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/x-amz-json-1.1',
    'content-length': Buffer.byteLength(text),
    'x-amzn-requestid': randomUUID(),
  });
  response.end(text);
}
