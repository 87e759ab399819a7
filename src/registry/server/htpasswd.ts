import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { TinyrunError } from '../../errors.ts';
import type { Guard } from './server.ts';

/** Bytes. */
const LONGEST_FILE = 1 << 20;
const LONGEST_PASSWORD = 256;
/** Passwords that were right, as keyed hashes: bcrypt takes a tenth of a second, and a pull asks dozens of times. */
const MOST_REMEMBERED = 1000;
/** Comparisons that may wait: more are refused, for somebody is guessing. */
const MOST_WAITING = 32;

/**
 * A guard by a file of `user:bcrypt` lines, as `htpasswd -B` makes it; a changed file counts at once.
 * @throws TinyrunError `not_found`, `invalid` for a line of another kind
 */
export function htpasswdGuard(path: string): Guard {
  const read = readerOf(path);
  read();
  const key = randomBytes(32);
  const remembered = new Set<string>();
  let waiting = 0;
  let queue: Promise<unknown> = Promise.resolve();
  return async (authorization) => {
    const given = credentialsIn(authorization);
    if (given === undefined) return false;
    const hash = read().get(given.user);
    // A name that is not there takes as long as a wrong password.
    const against = hash ?? DECOY;
    const fingerprint = createHmac('sha256', key)
      .update(`${against}\n${given.user}\n${given.password}`)
      .digest('base64');
    if (remembered.has(fingerprint)) return true;
    if (waiting >= MOST_WAITING) return false;
    waiting += 1;
    const { compare } = await import('bcryptjs');
    const next = queue.then(() => compare(given.password, against));
    queue = next.catch(() => {});
    const isRight = await next.finally(() => {
      waiting -= 1;
    });
    if (!isRight || hash === undefined) return false;
    if (remembered.size >= MOST_REMEMBERED) remembered.clear();
    remembered.add(fingerprint);
    return true;
  };
}

const DECOY = '$2y$10$7EqJtq98hPqEX7fNZaFWoOe1ThQyGyuWe4RfPkw5PvNGdLMQdH1rS';
const BCRYPT = /^\$2[aby]?\$(\d\d)\$[./A-Za-z0-9]{53}$/;
/** The cost of one comparison doubles with each. */
const HIGHEST_COST = 14;

function readerOf(path: string): () => ReadonlyMap<string, string> {
  let state = '';
  let users: ReadonlyMap<string, string> = new Map();
  return () => {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) throw new TinyrunError('not_found', `open ${path}: no such file or directory`);
    const now = `${found.ino} ${found.mtimeMs} ${found.size}`;
    if (now !== state) {
      if (found.size > LONGEST_FILE) throw bad(path, 'it is too large');
      users = parse(path, readFileSync(path, 'utf8'));
      state = now;
    }
    return users;
  };
}

function parse(path: string, text: string): Map<string, string> {
  const users = new Map<string, string>();
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const hash = line.slice(colon + 1);
    const cost = Number(BCRYPT.exec(hash)?.[1]);
    if (colon < 1 || Number.isNaN(cost))
      throw bad(path, `line ${index + 1} has no bcrypt password; make one with "htpasswd -B"`);
    if (cost > HIGHEST_COST)
      throw bad(path, `line ${index + 1} has cost ${cost}, expected ${HIGHEST_COST} at most`);
    users.set(line.slice(0, colon), hash);
  }
  if (users.size === 0) throw bad(path, 'it has no users');
  return users;
}

function bad(path: string, why: string): TinyrunError {
  return new TinyrunError('invalid', `Cannot use "${path}": ${why}`);
}

/** @see https://www.rfc-editor.org/rfc/rfc7617 */
function credentialsIn(
  header: string | undefined,
): { readonly user: string; readonly password: string } | undefined {
  const encoded = /^basic ([A-Za-z0-9+/=]{1,2000})$/i.exec(header ?? '')?.[1];
  const text = Buffer.from(encoded ?? '', 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 1 || text.length - colon > LONGEST_PASSWORD) return undefined;
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
