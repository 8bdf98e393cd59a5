/** What may stand in the user metadata of an object. */
import { StrongroomError } from '../core/errors.ts';

const NAME = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;
const VALUE = /^[\x20-\x7e]*$/;
/** Amazon's limit over names and values together, in bytes. */
const LIMIT = 2048;

/**
 * Throws E_PRECONDITION for what one store would take and another would change or refuse: names other than lower-case
 * letters, digits and dashes, values with anything but printable ASCII or with spaces at the ends, more than 2 KB.
 */
export function checkMetadata(metadata: Readonly<Record<string, string>>): void {
  let bytes = 0;
  for (const [name, value] of Object.entries(metadata)) {
    bytes += name.length + value.length;
    if (!NAME.test(name) || !VALUE.test(value) || value.trim() !== value) {
      throw new StrongroomError('E_PRECONDITION', `metadata "${name}" cannot be a header of an object`, {
        hint: 'use a name of lower-case letters, digits and dashes, and a value of printable ASCII',
      });
    }
  }
  if (bytes > LIMIT) {
    throw new StrongroomError('E_PRECONDITION', `${bytes} bytes of metadata are more than ${LIMIT}`);
  }
}
