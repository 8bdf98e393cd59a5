/** The body of a form. */
import type { FastifyInstance, FastifyRequest } from 'fastify';

/** A form of ours is short. */
const MAX_FORM_BYTES = 8 * 1024;

export function acceptForms(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: MAX_FORM_BYTES },
    (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(String(body)))),
  );
}

/** The fields of the form; of a field that stands there twice, the last. */
export function fieldsOf({ body }: FastifyRequest): Readonly<Record<string, string | undefined>> {
  // Only acceptForms() makes bodies.
  return (body ?? {}) as Record<string, string>;
}
