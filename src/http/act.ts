/** What operators may ask for. Each act is in the log with the name of whoever asked, also when it was refused. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isError, StrongroomError } from '../core/errors.ts';
import { signalOf } from './asked.ts';
import type { Desk } from './desk.ts';
import { fieldsOf } from './form.ts';
import { checkOwnForm } from './guard.ts';
import { mayAct, snapshotOf } from './may.ts';
import { ASKABLE, askedPage, heldPage } from './pages/actions.ts';
import type { Visitor } from './visitor.ts';

const MAX_WHY = 500;

export function addActions(app: FastifyInstance, desk: Desk): void {
  const { source, queue, clock, show } = desk;

  app.post('/clusters/:cluster/ask', async (request, reply) => {
    const cluster = desk.cluster(request).status.cluster;
    const { job = '', csrf = null } = fieldsOf(request);
    const { who, done } = await journaled(
      desk,
      request,
      { act: 'ask', cluster, job: job.slice(0, 20) },
      csrf,
      async (operator) => {
        if (queue === null) {
          throw new StrongroomError('E_PRECONDITION', 'runs are asked for in the queue, and there is none', {
            hint: 'set queue in the config, and run strongroom worker',
          });
        }
        if (!ASKABLE.includes(job) || !queue.canAsk(cluster).includes(job)) {
          throw new StrongroomError('E_USAGE', `this job of ${cluster} cannot be asked for`, {
            hint: 'a worker takes only jobs that are scheduled: set schedule.backup or schedule.verify',
          });
        }
        return await queue.ask(cluster, job, operator.name, signalOf(request));
      },
    );
    return show(reply, askedPage(cluster, job, done), who, 202);
  });

  for (const act of ['hold', 'release'] as const) {
    app.post(`/clusters/:cluster/snapshots/:snapshot/${act}`, async (request, reply) => {
      const cluster = desk.cluster(request).status.cluster;
      const snapshot = snapshotOf(request);
      const { why = '', until = '', csrf = null } = fieldsOf(request);
      const { who, done } = await journaled(desk, request, { act, cluster, snapshot }, csrf, async (operator) => {
        const reason = why.trim().slice(0, MAX_WHY);
        if (reason === '') throw new StrongroomError('E_USAGE', `a ${act} says why`, { hint: 'fill in the reason' });
        const wanted = { cluster, snapshot, who: operator.name, why: reason };
        const signal = signalOf(request);
        if (act === 'release') return await source.release(wanted, signal);
        return await source.hold({ ...wanted, until: endOf(until, clock.now()) }, signal);
      });
      return show(reply, heldPage(cluster, snapshot, act, done), who, 201);
    });
  }
}

/** Lets operators through, and writes down who wanted what and what became of it. Rejects with E_DENIED, E_FORBIDDEN, and as `act` does. */
async function journaled<T>(
  desk: Desk,
  request: FastifyRequest,
  what: Record<string, string>,
  csrf: string | null,
  act: (operator: Visitor) => Promise<T>,
): Promise<{ who: Visitor; done: T }> {
  const who = await desk.visitor(request);
  const entry = { ...what, who: who.name, role: who.role, via: who.via, from: request.ip };
  try {
    if (!desk.allowActions()) {
      throw new StrongroomError('E_FORBIDDEN', 'this dashboard is read-only', { hint: 'set serve.allowActions: true' });
    }
    if (!mayAct(desk, who)) {
      throw new StrongroomError('E_FORBIDDEN', 'only operators may do this', {
        hint: 'sign in with the operator token, or be in the operator group of the proxy',
      });
    }
    const doors = desk.entry();
    checkOwnForm(request, who, csrf, typeof doors === 'object' ? doors.origin : null);
    const done = await act(who);
    desk.log.info({ ...entry, result: done }, 'an operator acted');
    return { who, done };
  } catch (e) {
    desk.log.warn({ ...entry, err: isError(e) ? e.toJSON() : String(e) }, 'an act was refused or failed');
    throw e;
  }
}

/** The end of that day in UTC; null = until it is released. */
function endOf(day: string, now: Date): Date | null {
  if (day === '') return null;
  const end = /^\d{4}-\d{2}-\d{2}$/.test(day) ? new Date(`${day}T23:59:59Z`) : new Date(Number.NaN);
  if (end > now) return end;
  throw new StrongroomError('E_USAGE', 'the end of a hold is no day to come', { hint: 'write it as 2027-12-31' });
}
