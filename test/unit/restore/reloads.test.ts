/** What counts as a restart that was seen: nobody answers any more, or it is sealed; never a connection that broke. */
import { describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { Reloads } from '../../../src/restore/restarts.ts';
import { describeNode, type NodeView } from '../../../src/vault/node-view.ts';

const URL = 'https://bao-0:8200';

function failing(code: 'E_VAULT_UNREACHABLE' | 'E_VAULT_TLS', reason: string): NodeView {
  const error = new StrongroomError(code, 'no answer', { details: { node: URL, reason } });
  return describeNode(URL, { health: { error }, sealStatus: { error }, leader: { error }, healthAt: 0 });
}

const refused = failing('E_VAULT_UNREACHABLE', 'refused');
const broken = failing('E_VAULT_UNREACHABLE', 'reset');

/** Was it seen to restart after that look of the whole cluster? */
function seen(node: NodeView): boolean {
  const reloads = new Reloads();
  reloads.note({ name: 'prod', nodes: [node], warnings: [] });
  return reloads.has(URL);
}

describe('a look at the cluster', () => {
  it('sees a node that nobody reaches, and one that is sealed', () => {
    expect(seen(refused)).toBe(true);
    expect(seen({ ...refused, state: 'sealed', error: null })).toBe(true);
  });

  it.each([
    ['a connection that broke', broken],
    ['a certificate that is not trusted', failing('E_VAULT_TLS', 'tls')],
    ['a node that hangs', failing('E_VAULT_UNREACHABLE', 'timeout')],
    ['a node that serves', { ...refused, state: 'active', error: null } as const],
  ])('takes %s for no restart', (_what, node) => {
    expect(seen(node)).toBe(false);
  });
});

it('on a new connection nobody there is nobody there, however it ends', () => {
  const reloads = new Reloads();
  reloads.noteNode(broken);
  expect(reloads.has(URL)).toBe(true);
});
