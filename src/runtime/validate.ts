import { TinyrunError } from '../errors.ts';
import type { Spec } from '../oci/runtime-spec.ts';
import { checkSysctl } from './sysctl.ts';

type Check = (spec: Spec) => void;

/** Each refuses one kind of config.json that cannot be launched as it says. */
const CHECKS: readonly Check[] = [
  checkRoot,
  checkArguments,
  checkCwd,
  checkUser,
  checkNamespaces,
  checkHostname,
  checkSysctls,
  checkUserNamespace,
];

/**
 * Whether a config.json makes sense and can be honoured, before anything is touched.
 * @throws TinyrunError `invalid` or `unsupported`
 */
export function validate(spec: Spec): void {
  for (const check of CHECKS) check(spec);
}

function has(spec: Spec, type: string): boolean {
  return spec.linux.namespaces.some((namespace) => namespace.type === type);
}

function checkRoot(spec: Spec): void {
  if (!spec.root.path.startsWith('/')) {
    throw new TinyrunError('invalid', `Cannot use root "${spec.root.path}": the path must be absolute`);
  }
}

function checkArguments(spec: Spec): void {
  const { args, env } = spec.process;
  if (args.length === 0) throw new TinyrunError('invalid', 'no command specified');
  for (const text of [...args, ...env]) {
    if (text.includes('\0')) {
      throw new TinyrunError(
        'invalid',
        `Cannot start "${args[0]}": an argument or variable contains a NUL byte`,
      );
    }
  }
}

function checkCwd(spec: Spec): void {
  const { cwd } = spec.process;
  if (!cwd.startsWith('/') || cwd.includes('\0')) {
    throw new TinyrunError('invalid', `Cwd must be an absolute path: "${cwd}"`);
  }
}

/** Ids beyond 32 bits would wrap around to somebody else, in the end to root (CVE-2024-40635). */
function checkUser(spec: Spec): void {
  const { uid, gid, additionalGids = [] } = spec.process.user;
  for (const id of [uid, gid, ...additionalGids]) {
    if (!Number.isInteger(id) || id < 0 || id > 0xfffffffe) {
      throw new TinyrunError('invalid', `Cannot use id ${id}: expected 0 to 4294967294`);
    }
  }
}

function checkNamespaces(spec: Spec): void {
  const seen = new Set<string>();
  for (const { type, path } of spec.linux.namespaces) {
    if (seen.has(type))
      throw new TinyrunError('invalid', `Cannot use namespace "${type}": it is there twice`);
    seen.add(type);
    if (path !== undefined && type === 'mount') {
      // A foreign mount namespace cannot be given a new root.
      throw new TinyrunError(
        'unsupported',
        `Cannot join the ${type} namespace "${path}": only new ones are supported`,
      );
    }
  }
  if (!has(spec, 'mount')) {
    throw new TinyrunError(
      'unsupported',
      "Cannot start without a mount namespace: the root would be the host's",
    );
  }
}

function checkHostname(spec: Spec): void {
  if (has(spec, 'uts')) return;
  if (spec.hostname)
    throw new TinyrunError('invalid', 'unable to set hostname without a private UTS namespace');
  if (spec.domainname)
    throw new TinyrunError('invalid', 'unable to set domainname without a private UTS namespace');
}

function checkSysctls(spec: Spec): void {
  const scope = { network: has(spec, 'network'), ipc: has(spec, 'ipc'), uts: has(spec, 'uts') };
  for (const [key, value] of Object.entries(spec.linux.sysctl ?? {})) checkSysctl(key, value, scope);
}

function checkUserNamespace(spec: Spec): void {
  const mapped = (spec.linux.uidMappings?.length ?? 0) + (spec.linux.gidMappings?.length ?? 0) > 0;
  const created = spec.linux.namespaces.some(({ type, path }) => type === 'user' && path === undefined);
  if (mapped && !has(spec, 'user')) {
    throw new TinyrunError(
      'invalid',
      "User namespace mappings specified, but user namespace isn't enabled in the config",
    );
  }
  if (created && !mapped)
    throw new TinyrunError('invalid', 'Cannot make a user namespace: it has no mappings');
}
