/** Does an address lead to one node, or to a balancer in front of several? */
import { StrongroomError } from '../core/errors.ts';
import type { NodeClient } from './client.ts';

/**
 * Questions at the same moment, each on a connection of its own. One that takes turns shows itself with as many as it has
 * nodes; one that draws lots among three stays hidden once in 25 times, and then looks like a standby.
 */
const AT_ONCE = 8;

/**
 * Rejects with E_PRECONDITION when `client`'s address answers for several nodes: there is no saying then to which of them
 * a snapshot would go. Sees only balancers that spread what they get; one that leads everything to the active node looks
 * like that node, until it changes. `timeoutMs` is for one question. An address that does not answer proves nothing.
 */
export async function assertOneNode(client: NodeClient, timeoutMs: number, signal: AbortSignal): Promise<void> {
  if (!isMixed(await claims(client, timeoutMs, signal))) return;
  // A node that has just become active, or ceased to be, was asked on both sides of that moment: now it is consistent.
  const again = await claims(client, timeoutMs, signal);
  if (!isMixed(again)) return;
  const active = again.filter(Boolean).length;
  throw new StrongroomError(
    'E_PRECONDITION',
    `${client.url} answers for several nodes: of ${again.length} questions at once, ${active} reached the active node and ${again.length - active} a standby`,
    {
      hint: 'it is a load balancer, or a name with several addresses, and a snapshot sent to it could end up anywhere: list the address of each node under `nodes`; the active one is found among them',
      details: { node: client.url, asked: again.length, active },
    },
  );
}

/** Whether each of the answers that came says of itself that it is the active node's. */
async function claims(client: NodeClient, timeoutMs: number, signal: AbortSignal): Promise<boolean[]> {
  const answers = await Promise.allSettled(
    Array.from({ length: AT_ONCE }, async () => {
      await using on = client.transport.connection();
      return (await client.leader(signal, timeoutMs, on)).is_self;
    }),
  );
  signal.throwIfAborted();
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
}

function isMixed(all: readonly boolean[]): boolean {
  return all.includes(true) && all.includes(false);
}
