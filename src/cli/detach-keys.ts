/** Docker's default: Control-P, Control-Q. */
export const DEFAULT_DETACH_KEYS = 'ctrl-p,ctrl-q';

/**
 * `ctrl-p,ctrl-q` or `a,b` as bytes.
 * @throws Error in Docker's words
 */
export function parseDetachKeys(text: string): Uint8Array {
  if (text === '') return new Uint8Array();
  return Uint8Array.from(text.split(','), (key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const control = /^ctrl-([a-zA-Z@[\\\]^_])$/i.exec(key)?.[1];
    if (control === undefined) throw new Error(`invalid escape keys (${text})`);
    return control.toUpperCase().charCodeAt(0) - 64;
  });
}

/**
 * Watches what a user types for the detach keys. What may be their beginning is held back until the next byte decides.
 * @returns what is to be sent on, and whether the keys were complete
 */
export function detachWatcher(
  keys: Uint8Array,
): (chunk: Uint8Array) => { send: Uint8Array; detached: boolean } {
  let matched = 0;
  return (chunk) => {
    if (keys.length === 0) return { send: chunk, detached: false };
    const send: number[] = [];
    for (const byte of chunk) {
      if (byte === keys[matched]) {
        matched += 1;
        if (matched === keys.length) return { send: Uint8Array.from(send), detached: true };
        continue;
      }
      send.push(...keys.subarray(0, matched));
      matched = byte === keys[0] ? 1 : 0;
      if (matched === 0) send.push(byte);
    }
    return { send: Uint8Array.from(send), detached: false };
  };
}
