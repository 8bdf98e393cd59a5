/**
 * What the code at hand is at work on. A line of the log, from however deep below, has to say of which run it is; and
 * clients, leases and stores outlive a stage, so that a log that is handed to them could not know.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

/** The fields that every line of the log gets. */
export type ScopeFields = {
  cluster?: string;
  job?: string;
  run?: string;
  stage?: string;
  /** of the trace that the run is part of */
  traceId?: string;
};

/** Does `work` and settles as it does; whoever watches sees its begin and its end. */
export type Around = <T>(stage: string, work: () => Promise<T>) => Promise<T>;

type Scope = { readonly fields: ScopeFields; readonly around: Around };

const unwatched: Around = (_stage, work) => work();
const scopes = new AsyncLocalStorage<Scope>();

/** The fields of the scope around the caller, as an object of its own; empty outside of every scope. */
export function scopeFields(): ScopeFields {
  return { ...scopes.getStore()?.fields };
}

/** Does `work` with `fields` added to those of the scope around it. `around` is put around each stage in it. */
export async function inScope<T>(fields: ScopeFields, work: () => Promise<T>, around?: Around): Promise<T> {
  const outer = scopes.getStore();
  const scope = { fields: { ...outer?.fields, ...fields }, around: around ?? outer?.around ?? unwatched };
  return await scopes.run(scope, work);
}

/** Does `work` as the stage `stage` of the run around it. Settles as `work` does. */
export async function inStage<T>(stage: string, work: () => Promise<T>): Promise<T> {
  const around = scopes.getStore()?.around ?? unwatched;
  return await inScope({ stage }, () => around(stage, work));
}

/** Adds to the fields of the scope around the caller, for the lines to come: who opened it did not know them yet. */
export function nameScope(fields: ScopeFields): void {
  const scope = scopes.getStore();
  if (scope !== undefined) Object.assign(scope.fields, fields);
}
