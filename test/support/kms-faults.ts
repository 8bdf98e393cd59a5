/** Harm on demand: which call of the KMS emulator fails how, and which credential may call what. */
import { KmsError } from './kms-errors.ts';
import type { KmsKey } from './kms-keys.ts';
import type { Operation } from './kms-schemas.ts';

/**
 * An AWS error name, an HTTP status from 500 up, `throttle` (ThrottlingException), `hang` (the request is read and
 * never answered) or `refuse` (the connection is destroyed). For ECONNREFUSED stop the emulator.
 */
export type FaultKind = `${string}Exception` | number | 'throttle' | 'hang' | 'refuse';

export type Fault = {
  operation?: Operation | readonly Operation[];
  /** key id or key ARN, no alias; of a multi-Region key it hits every replica unless `region` is given */
  keyId?: string;
  region?: string;
  with: FaultKind;
  /** heals by itself after so many hits; default: until removed */
  times?: number;
};

/** A fault that is set: `hits` counts what it broke, `remove()` ends it; also at the end of a `using` block. */
export type SetFault = Disposable & { readonly hits: number; remove(): void };

/** Thrown inside an operation for the two faults that are no answer at all. */
export class NoAnswer extends Error {
  readonly kind: 'hang' | 'refuse';
  constructor(kind: 'hang' | 'refuse') {
    super(kind);
    this.kind = kind;
  }
}

type Where = { operation: Operation; region: string; key?: KmsKey };

export class Faults {
  readonly #set = new Set<Fault & { hits: number }>();

  add(fault: Fault): SetFault {
    const entry = { ...fault, hits: 0 };
    this.#set.add(entry);
    const remove = () => void this.#set.delete(entry);
    return {
      get hits() {
        return entry.hits;
      },
      remove,
      [Symbol.dispose]: remove,
    };
  }

  clear(): void {
    this.#set.clear();
  }

  /** Throws when a fault says so: without a key those that name none, with a key those that name this one. */
  strike(where: Where): void {
    for (const fault of this.#set) {
      if (!matches(fault, where)) continue;
      fault.hits += 1;
      if (fault.times !== undefined && fault.hits >= fault.times) this.#set.delete(fault);
      throw failure(fault.with);
    }
  }
}

/** Which operations each access key may call, on which keys. A credential that was never granted anything may all. */
export class Grants {
  readonly #grants = new Map<string, Array<{ operations: ReadonlySet<Operation>; keyId: string | undefined }>>();

  /** Adds rights; the first call for an access key takes every other right away. */
  grant(accessKeyId: string, operations: readonly Operation[], keyId?: string): void {
    const rights = this.#grants.get(accessKeyId) ?? [];
    rights.push({ operations: new Set(operations), keyId: keyId === undefined ? undefined : bareId(keyId) });
    this.#grants.set(accessKeyId, rights);
  }

  /** Back to everything. */
  revoke(accessKeyId: string): void {
    this.#grants.delete(accessKeyId);
  }

  check(accessKeyId: string, operation: Operation, key?: KmsKey): void {
    const rights = this.#grants.get(accessKeyId);
    if (rights === undefined) return;
    const allowed = rights.some(
      (right) =>
        right.operations.has(operation) && (key === undefined || right.keyId === undefined || right.keyId === key.id),
    );
    if (allowed) return;
    throw new KmsError(
      'AccessDeniedException',
      `User: ${accessKeyId} is not authorized to perform: kms:${operation} on resource: ${key?.arn ?? '*'} because no identity-based policy allows the kms:${operation} action`,
    );
  }
}

function matches(fault: Fault, { operation, region, key }: Where): boolean {
  if (fault.operation !== undefined && ![fault.operation].flat().includes(operation)) return false;
  if (fault.region !== undefined && fault.region !== region) return false;
  return fault.keyId === undefined ? key === undefined : key !== undefined && bareId(fault.keyId) === key.id;
}

function bareId(keyId: string): string {
  return keyId.replace(/^arn:.*:key\//, '');
}

function failure(kind: FaultKind): Error {
  if (kind === 'hang' || kind === 'refuse') return new NoAnswer(kind);
  if (kind === 'throttle') return new KmsError('ThrottlingException', 'Rate exceeded');
  if (typeof kind === 'number') return new KmsError('KMSInternalException', 'injected failure', kind);
  return new KmsError(kind, 'injected failure');
}
