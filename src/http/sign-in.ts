/** A token becomes a session of the browser. */
import type { FastifyInstance } from 'fastify';
import { StrongroomError } from '../core/errors.ts';
import { signalOf } from './asked.ts';
import type { Desk } from './desk.ts';
import { fieldsOf } from './form.ts';
import { checkOwnForm } from './guard.ts';
import { signInPage } from './pages/sign-in.ts';
import { closeSession, type Doors, endSession, identify, openSession, roleOf } from './people.ts';

export function addSignIn(app: FastifyInstance, desk: Desk): void {
  const { clock, seals, log, entry, show, wrong } = desk;
  const doors = (): Doors => {
    const now = entry();
    if (typeof now === 'object') return now;
    throw new StrongroomError('E_NOT_FOUND', 'there is no sign-in: serve.auth is not in the config');
  };
  app.get('/login', async (request, reply) => {
    doors();
    const who = await identify(request, entry(), desk);
    if (who !== null) return await reply.code(303).header('location', '/').send();
    return show(reply, signInPage(null), null);
  });
  app.post('/login', async (request, reply) => {
    const open = doors();
    checkOwnForm(request, null, null, open.origin);
    const now = clock.now().getTime();
    if (wrong.isOver(request.ip, now)) {
      return show(reply, signInPage('Too many wrong tokens came from this address. Try again in a minute.'), null, 429);
    }
    const { token = '', name = '' } = fieldsOf(request);
    const role = await roleOf(token.trim(), open, signalOf(request));
    if (role === null) {
      wrong.add(request.ip, now);
      log.warn({ from: request.ip }, 'a sign-in with a wrong token was refused');
      return show(reply, signInPage('That is not a token of this server.'), null, 403);
    }
    log.info({ who: name, role, from: request.ip }, 'somebody signed in');
    const cookie = await openSession({ name, role }, open, seals, clock, signalOf(request));
    return await reply.code(303).header('set-cookie', cookie).header('location', '/').send();
  });
  app.post('/logout', async (request, reply) => {
    const open = doors();
    const who = await desk.visitor(request);
    checkOwnForm(request, who, fieldsOf(request)['csrf'] ?? null, open.origin);
    endSession(request, seals, clock);
    log.info({ who: who.name, role: who.role, from: request.ip }, 'somebody signed out');
    return await reply.code(303).header('set-cookie', closeSession(open)).header('location', '/login').send();
  });
}
