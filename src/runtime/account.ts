import { TinyrunError } from '../errors.ts';

/** Who the container's process is. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, the primary one first: without it a file that denies the group could be read. */
  readonly groups: readonly number[];
  readonly home: string;
}

/** Docker's bound, half of what the kernel allows: nothing wraps in any program that keeps an id in an int. */
const MAX_ID = 2147483647;
/** A longer line is no account; it is skipped before it is taken apart (CVE-2024-9676 and its kin). */
const MAX_PASSWD_LINE = 64 * 1024;
const MAX_GROUP_LINE = 1024 * 1024;

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/**
 * `user[:group]` of an image or of `--user` as numbers. A numeric string always is that number, never a name (CVE-2016-3697),
 * and a number out of range is an error, never a name and never 0 (CVE-2024-40635, CVE-2026-46680).
 * @param read the text of `/etc/passwd` or `/etc/group` in the image, bounded by the caller; undefined where there is none
 * @throws TinyrunError `invalid` with Docker's words
 */
export function resolveAccount(
  read: (path: string) => string | undefined,
  user: string | undefined,
  groupAdd: readonly string[],
): Account {
  const parts = (user ?? '').split(':');
  if (parts.length > 2) {
    throw new TinyrunError('invalid', `Cannot use user "${user}": expected user[:group]`);
  }
  const [userPart = '', groupPart = ''] = parts;
  const wantedUid = parseId(userPart === '' ? '0' : userPart);
  const wantedGid = parseId(groupPart);
  const entry = find(passwdEntries(read('/etc/passwd')), (candidate) =>
    wantedUid === undefined ? candidate.name === userPart : candidate.uid === wantedUid,
  );
  if (entry === undefined && wantedUid === undefined) {
    throw new TinyrunError('invalid', `unable to find user ${userPart}: no matching entries in passwd file`);
  }

  const needsGroups = groupPart !== '' || entry !== undefined || groupAdd.length > 0;
  const groups = needsGroups ? [...groupEntries(read('/etc/group'))] : [];
  const gid = groupPart === '' ? (entry?.gid ?? 0) : gidOf(groupPart, wantedGid, groups);
  // As in login(1), an explicit group stands alone; only an implicit one brings the user's memberships.
  const memberships =
    groupPart === '' && entry !== undefined
      ? groups.filter((group) => group.members.includes(entry.name)).map((group) => group.gid)
      : [];
  const added = groupAdd.map((name) => gidOf(name, parseId(name), groups));
  return {
    uid: entry?.uid ?? wantedUid ?? 0,
    gid,
    groups: [...new Set([gid, ...memberships, ...added])],
    home: entry === undefined || entry.home === '' ? '/' : entry.home,
  };
}

function gidOf(name: string, number: number | undefined, groups: readonly GroupEntry[]): number {
  if (number !== undefined) return number;
  const group = groups.find((candidate) => candidate.name === name);
  if (group === undefined) {
    throw new TinyrunError('invalid', `unable to find group ${name}: no matching entries in group file`);
  }
  return group.gid;
}

/** Decimal digits as an id, undefined for what is not a number. */
function parseId(text: string): number | undefined {
  if (!/^[+-]?[0-9]+$/.test(text)) return undefined;
  const number = Number(text);
  if (number < 0 || Object.is(number, -0) || number > MAX_ID) {
    throw new TinyrunError('invalid', `uids and gids must be in range 0-${MAX_ID}`);
  }
  return number;
}

/** An id of a file: anything but plain digits in range makes its line one to skip, not one for root. */
function idOfField(text: string | undefined): number | undefined {
  if (text === undefined || !/^[0-9]{1,10}$/.test(text)) return undefined;
  const number = Number(text);
  return number <= MAX_ID ? number : undefined;
}

function* passwdEntries(text: string | undefined): Generator<PasswdEntry> {
  for (const line of linesOf(text, MAX_PASSWD_LINE)) {
    const [name = '', , uidField, gidField, , home = ''] = line.split(':');
    const uid = idOfField(uidField);
    const gid = idOfField(gidField);
    if (name !== '' && uid !== undefined && gid !== undefined)
      yield { name, uid, gid, home: cleanHome(home) };
  }
}

function* groupEntries(text: string | undefined): Generator<GroupEntry> {
  for (const line of linesOf(text, MAX_GROUP_LINE)) {
    const [name = '', , gidField, members = ''] = line.split(':');
    const gid = idOfField(gidField);
    if (name !== '' && gid !== undefined) yield { name, gid, members: members.split(',') };
  }
}

function* linesOf(text: string | undefined, maxLength: number): Generator<string> {
  if (text === undefined) return;
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    if (end - start <= maxLength) {
      const line = text.slice(start, end).trim();
      if (line !== '' && !line.startsWith('#')) yield line;
    }
    start = end + 1;
  }
}

/** The home directory becomes an environment variable: a control character in it is somebody's trick (CVE-2026-15809). */
function cleanHome(home: string): string {
  return /[\x00-\x1f\x7f]/.test(home) ? '' : home;
}

function find<T>(items: Iterable<T>, matches: (item: T) => boolean): T | undefined {
  for (const item of items) if (matches(item)) return item;
  return undefined;
}
