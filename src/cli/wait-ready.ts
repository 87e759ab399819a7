import type { ContainerRecord, Engine, Readiness, ReadyHow, Session } from '../engine/index.ts';
import { TinyrunError } from '../errors.ts';
import type { Context } from './context.ts';

/** Of what a container has said last. */
const LINES = 10;
const NOT_READY = 125;

/** Keeps what the container says, for the case that its log goes with it (`--rm`). */
function listen(session: Session): () => string[] {
  let lines: string[] = [];
  session.onOutput((_, chunk) => {
    lines = `${lines.join('\n')}${Buffer.from(chunk).toString()}`.split('\n').slice(-LINES - 1);
  });
  return () => (lines.at(-1) === '' ? lines.slice(0, -1) : lines).slice(-LINES);
}

/**
 * Waits until a container is ready.
 * @param heard its last lines, as far as they are known already
 * @returns the exit code of the command; where it did not become ready, 125, with what it has said last on stderr
 * @throws TinyrunError where there is nothing to wait for
 */
export async function waitReady(
  { context, engine }: { readonly context: Context; readonly engine: Engine },
  { id, name }: ContainerRecord,
  { how, session }: { readonly how: ReadyHow; readonly session: Session },
): Promise<number> {
  const heard = listen(session);
  try {
    const outcome = await becomesReady(engine, id, how);
    const code = outcome.type === 'exited' ? outcome.exitCode : await codeOfGone(outcome, session);
    const over = outcome.type === 'exited' || outcome.type === 'gone';
    if (outcome.type === 'ready' || (over && how.waitFor?.type === 'exit' && code === 0)) return 0;
    for (const line of await lastLines(engine, id, heard)) context.stderr.write(`${line}\n`);
    if (over && how.waitFor?.type === 'exit') return code ?? 1;
    context.stderr.write(`tinyrun: Container "${name}" ${reasonOf(outcome, code)}\n`);
    return NOT_READY;
  } finally {
    session.close();
  }
}

/** With --rm the container is gone a moment before its monitor tells the exit. */
async function codeOfGone({ type }: Readiness, session: Session): Promise<number | undefined> {
  if (type !== 'gone') return undefined;
  return session.exited.then(
    ({ exitCode }) => exitCode,
    () => undefined,
  );
}

/** One that was removed as it ended (`--rm`) may be gone before the first look. */
async function becomesReady(engine: Engine, id: string, how: ReadyHow): Promise<Readiness> {
  try {
    return await engine.whenReady(id, how);
  } catch (error) {
    if (error instanceof TinyrunError && error.kind === 'not_found') return { type: 'gone' };
    throw error;
  }
}

function reasonOf({ type }: Readiness, code: number | undefined): string {
  if (type === 'timeout') return 'is not ready in time';
  if (type === 'unhealthy') return 'is unhealthy';
  return `exited${code === undefined ? '' : ` (${code})`} before it was ready`;
}

async function lastLines(engine: Engine, id: string, heard: () => string[]): Promise<string[]> {
  try {
    const lines: string[] = [];
    for await (const { text } of engine.logs(id, { tail: LINES })) lines.push(text.replace(/\n$/, ''));
    return lines;
  } catch {
    return heard();
  }
}
