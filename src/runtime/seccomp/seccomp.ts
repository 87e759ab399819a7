import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makePrivateDirectory, writeFileAtomic } from '../../disk/atomic.ts';
import type { SecurityOption } from '../../engine/options.ts';
import { errorCode } from '../../errors.ts';
import type { Seccomp } from '../../oci/runtime-spec.ts';
import { CAPABILITIES, DEFAULT_CAPABILITIES } from '../capabilities.ts';
import { DEFAULT_PROFILE, DEFAULT_PROFILE_VERSION, PROFILE_CAPABILITIES } from './default-profile.ts';
import { kernelAtLeast, type ProfileContext, parseProfile, resolveProfile } from './profile.ts';

/** Raised when the same rules compile to another program. */
const COMPILER_VERSION = 1;

export interface SeccompInput extends ProfileContext {
  readonly securityOpt: readonly SecurityOption[];
  readonly privileged: boolean;
  /** `paths.seccompProgram`: where a compiled program is kept. */
  readonly programPath: (hash: string) => string;
  /** Directory of programs that were compiled when the package was built; see `carriedPrograms()`. */
  readonly carried?: string;
}

export interface SeccompFilter {
  /** For config.json. */
  readonly seccomp: Seccomp;
  /** For the launch plan: sock_filter[]. */
  readonly program: Uint8Array;
}

/**
 * The filter of a container; undefined: unconfined, as is a privileged container unless it asks for a profile.
 * A warm start reads one file: libseccomp is loaded for a program that is neither kept nor carried.
 * @throws TinyrunError `invalid` for a profile that makes no sense, `unavailable` where libseccomp is needed and missing
 */
export async function seccompFor(input: SeccompInput): Promise<SeccompFilter | undefined> {
  const profile = input.securityOpt.findLast((option) => option.type === 'seccomp')?.profile;
  if (profile === 'unconfined') return undefined;
  if (profile === undefined && input.privileged) return undefined;
  const text = profile === undefined || profile === 'default' || profile === 'builtin' ? undefined : profile;
  const seccomp = resolveProfile(text === undefined ? DEFAULT_PROFILE : parseProfile(text), input);
  if (seccomp === undefined) return undefined;
  const hash = text === undefined ? defaultKey(input) : await customKey(seccomp, input.arch);
  return { seccomp, program: await programOf(seccomp, hash, input) };
}

/** The name of the default profile's program: all that it depends on, told without building it. */
export function defaultKey(context: ProfileContext): string {
  const mask = PROFILE_CAPABILITIES.reduce(
    (bits, name, index) => bits | (context.capabilities.includes(name) ? 1 << index : 0),
    0,
  );
  const ptrace = kernelAtLeast(context.kernel, '4.8') ? '' : '-old';
  return `default-${DEFAULT_PROFILE_VERSION}.${COMPILER_VERSION}-${context.arch}-${mask.toString(16)}${ptrace}`;
}

/** The rules are what counts: profiles that come to the same for this container share a program. */
async function customKey(seccomp: Seccomp, arch: string): Promise<string> {
  const { createHash } = await import('node:crypto');
  const text = JSON.stringify([COMPILER_VERSION, arch, seccomp]);
  return createHash('sha256').update(text).digest('hex');
}

async function programOf(seccomp: Seccomp, hash: string, input: SeccompInput): Promise<Uint8Array> {
  const path = input.programPath(hash);
  const kept =
    (input.carried === undefined ? undefined : readProgram(join(input.carried, hash))) ?? readProgram(path);
  if (kept !== undefined) return kept;
  const { compileSeccomp } = await import('./program.ts');
  const program = compileSeccomp(seccomp);
  makePrivateDirectory(dirname(path));
  // Not durable: what a power cut loses is compiled again, and half a file never has this name.
  writeFileAtomic(path, program, { durable: false });
  return program;
}

/** Undefined where there is none, or only the remains of a broken disk. */
function readProgram(path: string): Uint8Array | undefined {
  try {
    const program = readFileSync(path);
    return program.length > 0 && program.length % 8 === 0 && program.length <= 8 * 4096 ? program : undefined;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * For the build: programs of the default profile that a package carries, so that machines without libseccomp run containers
 * with the default capabilities, none, all, or one more. Compiled by the libseccomp of the machine that builds, for its
 * architecture.
 * @returns file name → program, some 2 kB each
 */
export async function carriedPrograms(arch: ProfileContext['arch']): Promise<Map<string, Uint8Array>> {
  const { compileSeccomp } = await import('./program.ts');
  const programs = new Map<string, Uint8Array>();
  const oneMore = PROFILE_CAPABILITIES.map((name) => [...DEFAULT_CAPABILITIES, name]);
  for (const capabilities of [DEFAULT_CAPABILITIES, [], CAPABILITIES, ...oneMore]) {
    const context: ProfileContext = { capabilities, arch, kernel: OLDEST_KERNEL };
    const seccomp = resolveProfile(DEFAULT_PROFILE, context);
    if (seccomp !== undefined) programs.set(defaultKey(context), compileSeccomp(seccomp));
  }
  return programs;
}

/** The oldest that tinyrun runs on. */
const OLDEST_KERNEL = '5.4';
