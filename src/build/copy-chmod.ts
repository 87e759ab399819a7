import { TinyrunError } from '../errors.ts';
import type { Chmod } from './copy-plan.ts';

const OCTAL = /^0?[0-7]{1,4}$/;
const CLAUSE = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/;

/**
 * `--chmod`: octal digits, or what chmod(1) takes (`u=rwX,go=rX`, `+x`). Without a who it means all, whatever the umask.
 * @throws TinyrunError `invalid`
 */
export function parseChmod(text: string): Chmod {
  if (OCTAL.test(text)) {
    const mode = Number.parseInt(text, 8);
    return () => mode;
  }
  const clauses = text.split(',').map((clause) => {
    const [, who = '', actions] = CLAUSE.exec(clause) ?? [];
    if (actions === undefined) {
      throw new TinyrunError(
        'invalid',
        `invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777`,
      );
    }
    return { who: who === '' || who.includes('a') ? 'ugo' : who, actions };
  });
  return (mode, isDirectory) =>
    clauses.reduce((current, clause) => applyClause(current, clause, isDirectory), mode);
}

const SHIFT: Readonly<Record<string, number>> = { u: 6, g: 3, o: 0 };

function applyClause(mode: number, clause: { who: string; actions: string }, isDirectory: boolean): number {
  let result = mode;
  for (const [, operator = '', permissions = ''] of clause.actions.matchAll(/([-+=])([ugo]|[rwxXst]*)/g)) {
    const bits = bitsOf(permissions, clause.who, result, isDirectory);
    if (operator === '+') result |= bits;
    else if (operator === '-') result &= ~bits;
    else result = (result & ~maskOf(clause.who)) | bits;
  }
  return result;
}

function bitsOf(permissions: string, who: string, mode: number, isDirectory: boolean): number {
  let bits = 0;
  for (const one of who) {
    const shift = SHIFT[one] ?? 0;
    for (const letter of permissions) {
      if (letter === 'r') bits |= 4 << shift;
      else if (letter === 'w') bits |= 2 << shift;
      else if (letter === 'x') bits |= 1 << shift;
      // Only what somebody may execute already, and directories.
      else if (letter === 'X' && (isDirectory || (mode & 0o111) !== 0)) bits |= 1 << shift;
      else if (letter === 's') bits |= one === 'u' ? 0o4000 : one === 'g' ? 0o2000 : 0;
      else if (letter === 't') bits |= 0o1000;
      else if ('ugo'.includes(letter)) bits |= ((mode >> (SHIFT[letter] ?? 0)) & 7) << shift;
    }
  }
  return bits;
}

function maskOf(who: string): number {
  let mask = 0;
  for (const one of who)
    mask |= (7 << (SHIFT[one] ?? 0)) | (one === 'u' ? 0o4000 : one === 'g' ? 0o2000 : 0o1000);
  return mask;
}
