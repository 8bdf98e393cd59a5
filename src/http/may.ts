/** What stands in an address, and who may act. */
import type { FastifyRequest } from 'fastify';
import { StrongroomError } from '../core/errors.ts';
import { parseSnapshotId, type SnapshotId } from '../core/ids.ts';
import type { Visitor } from './visitor.ts';

/** May `who` act: the config allows it, and they are an operator. */
export function mayAct({ allowActions }: { allowActions: () => boolean }, who: Visitor): boolean {
  return allowActions() && who.role === 'operator';
}

/** The snapshot in the address. Throws E_NOT_FOUND for what is no id. */
export function snapshotOf({ params }: FastifyRequest): SnapshotId {
  const id = parseSnapshotId((params as { snapshot?: string }).snapshot ?? '');
  if (id === null) throw new StrongroomError('E_NOT_FOUND', 'that is not the id of a snapshot');
  return id;
}
