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
  // A path in the suffix would run a program outside PATH.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(suffix)) {
    throw new TinyrunError(
      'unauthorized',
      `Cannot run credential helper "${printable(suffix, 60)}": bad name`,
    );
  }
  const program = `docker-credential-${suffix}`;
  const { code, stdout } = await run(program, server, options);
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

async function run(
  program: string,
  server: string,
  { env, timeout }: HelperOptions,
): Promise<{ code: number; stdout: Buffer }> {
  const { spawn } = await import('node:child_process');
  const failed = (why: string, hint?: string): TinyrunError =>
    new TinyrunError(
      'unauthorized',
      `Cannot get credentials for "${server}": ${program} ${why}`,
      hint === undefined ? {} : { hint },
    );
  return new Promise((resolve, reject) => {
    const child = spawn(program, ['get'], {
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
    child.stdin.end(`${server}\n`);
  });
}
