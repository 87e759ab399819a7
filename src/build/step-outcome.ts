import { createHash } from 'node:crypto';
import { type StepKey, stepKey } from './cache.ts';
import { listFiles } from './copy-files.ts';
import type { CopyRecord, ListedEntry } from './copy-records.ts';
import { type CopyStep, recordsOf } from './step-copy.ts';

/**
 * A key for what a COPY comes to: over every file that it makes, with its time, and over the directories on the way, which the
 * layer repeats. Undefined where more of what is below decides: links on the way, names that are there already.
 * @param lower the layers below, top first
 */
export async function outcomeKey(
  lower: readonly string[],
  step: CopyStep,
  epoch: number | undefined,
): Promise<StepKey | undefined> {
  const { source, patterns, exclude, contents, destination } = step;
  if (contents.length > 0 || patterns.length === 0) return undefined;
  const records = recordsOf(step, await source.select(patterns, { exclude }), 0);
  const place = await placeOf(lower, destination, records);
  if (place === undefined) return undefined;
  const hash = createHash('sha256');
  // What is kept of the base record's owner is nothing: root makes the directories.
  for (const { type, mode, uid = 0, gid = 0, mtimeMs, dest, source: from } of records) {
    if (type === 'special') return undefined;
    const content = type === 'file' ? await source.contentOf(String(from)) : '';
    if (type === 'file' && content === '') return undefined;
    const target = type === 'symlink' || type === 'named' ? String(from) : '';
    hash.update(JSON.stringify([type, mode, uid, gid, mtimeMs, dest, content, target]));
  }
  return stepKey('outcome', [place, hash.digest('hex'), epoch]);
}

/** The directories above the destination as they are, but for their times, which anything that is made in them changes. */
async function placeOf(
  lower: readonly string[],
  destination: string,
  records: readonly CopyRecord[],
): Promise<unknown | undefined> {
  if (lower.length === 0) return 'alone';
  const parts = destination.split('/').filter((part) => part !== '');
  const prefixes = parts.map((_, at) => parts.slice(0, at + 1).join('/'));
  const lists = await listFiles({ source: lower, paths: ['', ...prefixes], withDigests: false, depth: 0 });
  const above = lists.map(([entry]) => entry);
  // A link on the way leads to directories that are not among these.
  if (above.some((entry, at) => entry !== undefined && entry.path !== (prefixes[at - 1] ?? '')))
    return undefined;
  const there = above.at(-1);
  if (there !== undefined && parts.length > 0 && !(await isFree(lower, there, parts.join('/'), records))) {
    return undefined;
  }
  if (parts.length === 0 && !(await isFree(lower, there, '', records))) return undefined;
  return above.map((entry) => entry && [entry.type, entry.mode, entry.uid, entry.gid, entry.path]);
}

/** Whether nothing in the destination has a name that the COPY makes. */
async function isFree(
  lower: readonly string[],
  there: ListedEntry | undefined,
  path: string,
  records: readonly CopyRecord[],
): Promise<boolean> {
  if (there?.type !== 'directory') return false;
  const [, ...present] =
    (await listFiles({ source: lower, paths: [path], withDigests: false, depth: 1 }))[0] ?? [];
  const names = new Set(present.map((entry) => entry.path.split('/').at(-1)));
  const [base] = records;
  const made = records
    .slice(1)
    .map(({ dest }) => (dest === '' ? String(base?.source ?? '') : (dest.split('/')[0] ?? '')));
  return !made.some((name) => names.has(name));
}
