/** Protobuf wire format, as much of it as storage entries and sealed blobs need. */

export type Field = { number: number } & ({ wire: 0; value: number } | { wire: 2; bytes: Buffer });

/**
 * Reads one uvarint of at most 10 bytes (64 bits; past 2^53 the value is rounded, and too large for every use here).
 * Null when `data` ends too early; -1 when it is longer than that or has a superfluous last byte, which no encoder writes.
 */
export function readUvarint(data: Buffer, at: number): { value: number; next: number } | null | -1 {
  let value = 0;
  for (let i = 0; i < 10; i += 1) {
    const byte = data[at + i];
    if (byte === undefined) return null;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return i > 0 && byte === 0 ? -1 : { value, next: at + i + 1 };
  }
  return -1;
}

/** The fields of a message, in the order they come; null when it is not one. Fixed-width fields are not known here. */
export function readFields(message: Buffer): Field[] | null {
  const fields: Field[] = [];
  let at = 0;
  while (at < message.length) {
    const tag = readUvarint(message, at);
    if (tag === null || tag === -1 || tag.value < 8) return null;
    const wire = tag.value & 7;
    const value = readUvarint(message, tag.next);
    if (value === null || value === -1) return null;
    const number = Math.floor(tag.value / 8);
    if (wire === 0) {
      fields.push({ number, wire, value: value.value });
      at = value.next;
    } else if (wire === 2) {
      at = value.next + value.value;
      if (at > message.length) return null;
      fields.push({ number, wire, bytes: message.subarray(value.next, at) });
    } else {
      return null;
    }
  }
  return fields;
}
