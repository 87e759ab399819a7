import { TinyrunError } from '../errors.ts';
import type { Credentials } from './credentials.ts';
import { type JsonObject, parseJsonObject, shapeOf } from './json-shape.ts';
import { printable } from './printable.ts';
import type { Environment } from './proxy.ts';

/** Bytes that a helper may print. */
const LONGEST_OUTPUT = 64 * 1024;
const NOT_FOUND = 'credentials not found in native keychain';

export interface HelperOptions {
  readonly env: Environment;
  /** Milliseconds. */
  readonly timeout: number;
}

/**
 * Asks `docker-credential-<suffix> get` for the credentials of a server. No shell; the server's name goes in by stdin.
 * @returns undefined where the helper knows none
 * @throws TinyrunError `unauthorized` for a helper that is missing, fails, prints nonsense or too much, or takes too long.
 *   What it printed is in no message: it may be the secret.
 * @see https://github.com/docker/docker-credential-helpers#development
 */
export async function runCredentialHelper(
  suffix: string,
  server: string,
  options: HelperOptions,
): Promise<Credentials | undefined> {
  const program = programOf(suffix);
  const { code, stdout } = await run({ program, action: 'get', input: `${server}\n`, server }, options);
  if (code !== 0) {
    if (stdout.toString('utf8').trim() === NOT_FOUND) return undefined;
    throw new TinyrunError(
      'unauthorized',
      `Cannot get credentials for "${server}": ${program} exited with code ${code}`,
    );
  }
  let answer: JsonObject;
  try {
    answer = parseJsonObject(stdout, `answer of ${program}`, LONGEST_OUTPUT);
  } catch {
    throw new TinyrunError(
      'unauthorized',
      `Cannot get credentials for "${server}": ${program} printed no JSON`,
    );
  }
  const shape = shapeOf(`answer of ${program}`);
  const username = shape.text(answer, 'Username') ?? '';
  const secret = shape.text(answer, 'Secret') ?? '';
  if (secret === '') return undefined;
  return username === '<token>'
    ? { type: 'identity', token: secret }
    : { type: 'basic', username, password: secret };
}

/**
 * Hands credentials to `docker-credential-<suffix> store`, by stdin.
 * @throws TinyrunError `unauthorized` where the helper does not take them
 */
export async function storeWithHelper(
  suffix: string,
  entry: { readonly server: string; readonly username: string; readonly secret: string },
  options: HelperOptions,
): Promise<void> {
  const { server, username, secret } = entry;
  const program = programOf(suffix);
  const input = JSON.stringify({ ServerURL: server, Username: username, Secret: secret });
  const { code } = await run({ program, action: 'store', input, server }, options);
  if (code === 0) return;
  throw new TinyrunError(
    'unauthorized',
    `Cannot save credentials for "${server}": ${program} exited with code ${code}`,
  );
}

/** Has `docker-credential-<suffix> erase` forget a server; that it knows none is no error. */
export async function eraseWithHelper(suffix: string, server: string, options: HelperOptions): Promise<void> {
  const program = programOf(suffix);
  const { code, stdout } = await run({ program, action: 'erase', input: `${server}\n`, server }, options);
  if (code === 0 || stdout.toString('utf8').trim() === NOT_FOUND) return;
  throw new TinyrunError(
    'unauthorized',
    `Cannot remove credentials for "${server}": ${program} exited with code ${code}`,
  );
}

/** A path in the suffix would run a program outside PATH. */
function programOf(suffix: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(suffix)) return `docker-credential-${suffix}`;
  throw new TinyrunError('unauthorized', `Cannot run credential helper "${printable(suffix, 60)}": bad name`);
}

const VERBS = { get: 'get', store: 'save', erase: 'remove' } as const;

interface HelperCall {
  readonly program: string;
  readonly action: 'get' | 'store' | 'erase';
  readonly input: string;
  readonly server: string;
}

async function run(
  { program, action, input, server }: HelperCall,
  { env, timeout }: HelperOptions,
): Promise<{ code: number; stdout: Buffer }> {
  const { spawn } = await import('node:child_process');
  const failed = (why: string, hint?: string): TinyrunError =>
    new TinyrunError(
      'unauthorized',
      `Cannot ${VERBS[action]} credentials for "${server}": ${program} ${why}`,
      hint === undefined ? {} : { hint },
    );
  return new Promise((resolve, reject) => {
    const child = spawn(program, [action], {
      env,
      stdio: ['pipe', 'pipe', 'ignore'],
      timeout,
      killSignal: 'SIGKILL',
    });
    const chunks: Buffer[] = [];
    let length = 0;
    child.on('error', (error) => {
      const isMissing = 'code' in error && error.code === 'ENOENT';
      reject(
        isMissing
          ? failed('is not installed', 'The Docker config names it in "credsStore" or "credHelpers"')
          : failed('cannot be run'),
      );
    });
    child.stdout.on('data', (chunk: Buffer) => {
      length += chunk.length;
      chunks.push(chunk);
      if (length <= LONGEST_OUTPUT) return;
      child.kill('SIGKILL');
      reject(failed('printed too much'));
    });
    child.on('close', (code) => {
      if (code === null) reject(failed(`gave no answer within ${timeout / 1000} s`));
      else resolve({ code, stdout: Buffer.concat(chunks) });
    });
    // A helper that does not read its input must not kill this process with EPIPE.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}
