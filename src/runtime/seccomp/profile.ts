import { TinyrunError } from '../../errors.ts';
import type { Seccomp, SeccompArg, SeccompSyscall } from '../../oci/runtime-spec.ts';

/**
 * A seccomp profile in Docker's form: the OCI one with rules that hold under conditions only.
 * @see https://docs.docker.com/engine/security/seccomp/ and moby/profiles seccomp/seccomp.go
 */
export interface SeccompProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly archMap?: readonly ArchitectureGroup[];
  readonly flags?: readonly string[];
  readonly syscalls: readonly ProfileRule[];
}

export interface ArchitectureGroup {
  readonly architecture: string;
  readonly subArchitectures: readonly string[];
}

export interface ProfileRule extends SeccompSyscall {
  readonly includes?: RuleCondition;
  readonly excludes?: RuleCondition;
}

export interface RuleCondition {
  readonly caps?: readonly string[];
  /** libseccomp's names, such as `amd64` and `arm64`. */
  readonly arches?: readonly string[];
  readonly minKernel?: string;
}

/** What the conditions ask for. */
export interface ProfileContext {
  /** The bounding set. */
  readonly capabilities: readonly string[];
  readonly arch: SeccompArch;
  /** As uname has it, such as `6.1.0-18-amd64`. */
  readonly kernel: string;
}

/** As `process.arch` has it. */
export type SeccompArch = 'x64' | 'arm64';

const NAME_OF: Readonly<Record<SeccompArch, { readonly condition: string; readonly token: string }>> = {
  x64: { condition: 'amd64', token: 'SCMP_ARCH_X86_64' },
  arm64: { condition: 'arm64', token: 'SCMP_ARCH_AARCH64' },
};

/**
 * The rules of a profile that hold for this container on this machine, as the OCI form.
 * @returns undefined for a profile that says nothing at all: no filter then, as in Docker
 */
export function resolveProfile(profile: SeccompProfile, context: ProfileContext): Seccomp | undefined {
  if (profile.defaultAction === '' && profile.syscalls.length === 0) return undefined;
  const names = NAME_OF[context.arch];
  const group = profile.archMap?.find((candidate) => candidate.architecture === names.token);
  const architectures =
    group === undefined ? profile.architectures : [group.architecture, ...group.subArchitectures];
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    ...(architectures === undefined ? {} : { architectures }),
    ...(profile.flags === undefined ? {} : { flags: profile.flags }),
    syscalls: profile.syscalls.filter((rule) => applies(rule, names.condition, context)).map(plainRule),
  };
}

function plainRule(rule: ProfileRule): SeccompSyscall {
  const { names, action, errnoRet, args } = rule;
  return {
    names,
    action,
    ...(errnoRet === undefined ? {} : { errnoRet }),
    ...(args === undefined || args.length === 0 ? {} : { args }),
  };
}

/** Every condition of `includes` must hold; any of `excludes` is enough. */
function applies(rule: ProfileRule, arch: string, context: ProfileContext): boolean {
  const { includes = {}, excludes = {} } = rule;
  if (excludes.arches?.includes(arch)) return false;
  if (excludes.caps?.some((name) => context.capabilities.includes(name))) return false;
  if (excludes.minKernel !== undefined && kernelAtLeast(context.kernel, excludes.minKernel)) return false;
  if (includes.arches?.length && !includes.arches.includes(arch)) return false;
  if (includes.caps?.some((name) => !context.capabilities.includes(name))) return false;
  return includes.minKernel === undefined || kernelAtLeast(context.kernel, includes.minKernel);
}

/** Compares major and minor only: `6.1.0-18-amd64` is at least `6.1`. */
export function kernelAtLeast(release: string, wanted: string): boolean {
  const [major = 0, minor = 0] = numbersOf(release);
  const [wantedMajor = 0, wantedMinor = 0] = numbersOf(wanted);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

function numbersOf(version: string): number[] {
  return (/^(\d+)\.(\d+)/.exec(version) ?? []).slice(1).map(Number);
}

/**
 * `--security-opt seccomp=FILE`: the text of the file, in Docker's or the OCI's form, both old and new.
 * @throws TinyrunError `invalid` saying what is wrong and where
 */
export function parseProfile(text: string): SeccompProfile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid('it is not JSON', cause);
  }
  const fields = record(value, 'the profile');
  const architectures = optional(fields.architectures, (list) => strings(list, 'architectures'));
  const archMap = optional(fields.archMap, (list) => items(list, 'archMap').map(groupOf));
  if (architectures?.length && archMap?.length) {
    throw invalid(
      "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
    );
  }
  if (fields.listenerPath !== undefined) {
    throw new TinyrunError('unsupported', 'Cannot use seccomp profile: a listener is not supported');
  }
  const defaultErrnoRet = optional(fields.defaultErrnoRet, (number) => errnoOf(number, 'defaultErrnoRet'));
  const flags = optional(fields.flags, (list) => strings(list, 'flags'));
  return {
    defaultAction: optional(fields.defaultAction, (action) => actionOf(action, 'defaultAction')) ?? '',
    ...(defaultErrnoRet === undefined ? {} : { defaultErrnoRet }),
    ...(architectures?.length ? { architectures } : {}),
    ...(archMap?.length ? { archMap } : {}),
    ...(flags === undefined ? {} : { flags }),
    syscalls: (optional(fields.syscalls, (list) => items(list, 'syscalls')) ?? []).map(ruleOf),
  };
}

function groupOf(value: unknown, index: number): ArchitectureGroup {
  const fields = record(value, `archMap[${index}]`);
  return {
    architecture: string(fields.architecture, `archMap[${index}].architecture`),
    subArchitectures: optional(fields.subArchitectures, (list) => strings(list, 'subArchitectures')) ?? [],
  };
}

function ruleOf(value: unknown, index: number): ProfileRule {
  const where = `syscalls[${index}]`;
  const fields = record(value, where);
  const name = optional(fields.name, (text) => string(text, `${where}.name`)) ?? '';
  const names = optional(fields.names, (list) => strings(list, `${where}.names`)) ?? [];
  if (name !== '' && names.length > 0) {
    throw invalid(
      "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
    );
  }
  const errnoRet = optional(fields.errnoRet, (number) => errnoOf(number, `${where}.errnoRet`));
  const args = optional(fields.args, (list) => items(list, `${where}.args`).map((arg) => argOf(arg, where)));
  const includes = optional(fields.includes, (condition) => conditionOf(condition, `${where}.includes`));
  const excludes = optional(fields.excludes, (condition) => conditionOf(condition, `${where}.excludes`));
  return {
    names: name === '' ? names : [name],
    action: actionOf(fields.action, `${where}.action`),
    ...(errnoRet === undefined ? {} : { errnoRet }),
    ...(args === undefined ? {} : { args }),
    ...(includes === undefined ? {} : { includes }),
    ...(excludes === undefined ? {} : { excludes }),
  };
}

function argOf(value: unknown, where: string): SeccompArg {
  const fields = record(value, `${where}.args`);
  const index = number(fields.index, `${where}.args.index`);
  if (index > 5) throw invalid(`${where}.args.index is ${index}, expected 0 to 5`);
  const op = string(fields.op, `${where}.args.op`);
  if (!/^SCMP_CMP_(NE|LT|LE|EQ|GE|GT|MASKED_EQ)$/.test(op)) throw invalid(`${where}.args.op is "${op}"`);
  const valueTwo = optional(fields.valueTwo, (two) => number(two, `${where}.args.valueTwo`));
  return {
    index,
    value: optional(fields.value, (one) => number(one, `${where}.args.value`)) ?? 0,
    op,
    ...(valueTwo === undefined ? {} : { valueTwo }),
  };
}

function conditionOf(value: unknown, where: string): RuleCondition {
  const fields = record(value, where);
  const caps = optional(fields.caps, (list) => strings(list, `${where}.caps`));
  const arches = optional(fields.arches, (list) => strings(list, `${where}.arches`));
  const minKernel = optional(fields.minKernel, (version) => string(version, `${where}.minKernel`));
  if (minKernel !== undefined && !/^\d+\.\d+$/.test(minKernel)) {
    throw invalid(`${where}.minKernel is "${minKernel}", expected "<kernel>.<major>"`);
  }
  return {
    ...(caps === undefined ? {} : { caps }),
    ...(arches === undefined ? {} : { arches }),
    ...(minKernel === undefined ? {} : { minKernel }),
  };
}

const ACTIONS: ReadonlySet<string> = new Set(
  ['KILL', 'KILL_PROCESS', 'KILL_THREAD', 'TRAP', 'ERRNO', 'TRACE', 'ALLOW', 'LOG'].map(
    (name) => `SCMP_ACT_${name}`,
  ),
);

function actionOf(value: unknown, where: string): string {
  const action = string(value, where);
  if (action === 'SCMP_ACT_NOTIFY') {
    throw new TinyrunError(
      'unsupported',
      `Cannot use seccomp profile: ${where} is SCMP_ACT_NOTIFY, which is not supported`,
    );
  }
  if (action !== '' && !ACTIONS.has(action)) throw invalid(`${where} is "${action}", no action of seccomp`);
  return action;
}

function errnoOf(value: unknown, where: string): number {
  const errno = number(value, where);
  if (errno > 4095) throw invalid(`${where} is ${errno}, expected an errno`);
  return errno;
}

function invalid(reason: string, cause?: unknown): TinyrunError {
  return new TinyrunError('invalid', `Decoding seccomp profile failed: ${reason}`, { cause });
}

/** Go's decoder takes null for "not given". */
function optional<T>(value: unknown, parse: (value: unknown) => T): T | undefined {
  return value === undefined || value === null ? undefined : parse(value);
}

function record(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`${where} is not an object`);
  }
  return Object.fromEntries(Object.entries(value));
}

function items(value: unknown, where: string): unknown[] {
  if (!Array.isArray(value)) throw invalid(`${where} is not a list`);
  return value;
}

function strings(value: unknown, where: string): string[] {
  return items(value, where).map((item) => string(item, where));
}

function string(value: unknown, where: string): string {
  if (typeof value !== 'string') throw invalid(`${where} is not a string`);
  return value;
}

/** A number beyond 2^53 has lost its last digits in JSON.parse: better refused than compared wrongly. */
function number(value: unknown, where: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw invalid(`${where} is not a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
  }
  return value;
}
