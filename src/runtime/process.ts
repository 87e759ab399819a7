import { join } from 'node:path';
import type { Op } from '../native/plan.ts';
import type { Process, Spec } from '../oci/runtime-spec.ts';
import { capabilityMask } from './capabilities.ts';
import { kernelLimit } from './rlimits.ts';
import { StartError } from './start-error.ts';

/** SECCOMP_FILTER_FLAG_* of linux/seccomp.h. */
const SECCOMP_FLAGS: Readonly<Record<string, number>> = {
  SECCOMP_FILTER_FLAG_TSYNC: 1,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 32,
};

/**
 * The last part of the child's list: from a fully privileged process in its new root to the program. The order is runc's
 * (standard_init_linux.go, finalizeNamespace):
 *
 *     rlimits       raising one needs CAP_SYS_RESOURCE
 *     cwd           as root: a directory of mode 0700 that is somebody else's is fine
 *     bounding set  dropping needs CAP_SETPCAP
 *     seccomp       here without no_new_privs, for it needs CAP_SYS_ADMIN then
 *     user, caps    from here on nothing can be taken back
 *     seccomp       here with no_new_privs, so that it need allow as little as possible
 *     exec
 */
export function processOps(spec: Spec, program: Uint8Array | undefined, init: boolean): Op[] {
  const { process: own } = spec;
  const filter = program === undefined ? [] : [seccompOp(spec, program)];
  const noNewPrivileges = own.noNewPrivileges === true;
  return [
    ...rlimitOps(own),
    { op: 'cwd', what: `change to the working directory "${own.cwd}"`, path: own.cwd, create: true },
    {
      op: 'boundingCaps',
      what: 'drop capabilities from the bounding set',
      mask: capabilityMask(own.capabilities.bounding),
    },
    ...(noNewPrivileges ? [] : filter),
    userOp(own),
    capsOp(own),
    ...(noNewPrivileges ? [{ op: 'noNewPrivileges', what: 'set no_new_privs' } satisfies Op, ...filter] : []),
    // After seccomp and user: pid 1 has no more rights than what it looks after.
    ...(init ? [{ op: 'init', what: 'start the init process' } satisfies Op] : []),
    execOp(own),
  ];
}

function rlimitOps(own: Process): Op[] {
  return (own.rlimits ?? []).map(({ type, soft, hard }) => ({
    op: 'rlimit',
    what: `set ${type} to ${soft}:${hard}`,
    resource: type,
    soft: kernelLimit(soft),
    hard: kernelLimit(hard),
  }));
}

function userOp(own: Process): Op {
  const { uid, gid, additionalGids = [] } = own.user;
  const { permitted, ambient } = own.capabilities;
  return {
    op: 'user',
    what: `become user ${uid}:${gid}`,
    uid,
    gid,
    groups: additionalGids,
    // setuid() away from 0 clears the permitted set; what the spec wants to keep has to survive until `caps`.
    keepCaps: uid !== 0 && permitted.length + ambient.length > 0,
  };
}

function capsOp(own: Process): Op {
  const { effective, permitted, inheritable, ambient } = own.capabilities;
  return {
    op: 'caps',
    what: 'set the capabilities',
    effective: capabilityMask(effective),
    permitted: capabilityMask(permitted),
    inheritable: capabilityMask(inheritable),
    ambient: capabilityMask(ambient),
  };
}

function seccompOp(spec: Spec, program: Uint8Array): Op {
  // SPEC_ALLOW where nothing is said, as runc: the speculation barriers of old kernels cost more than they give.
  const flags = spec.linux.seccomp?.flags ?? ['SECCOMP_FILTER_FLAG_SPEC_ALLOW'];
  let bits = 0;
  // TSYNC is dropped: there is one thread here.
  for (const flag of flags) if (flag !== 'SECCOMP_FILTER_FLAG_TSYNC') bits |= SECCOMP_FLAGS[flag] ?? 0;
  return { op: 'seccomp', what: 'load the seccomp filter', program, flags: bits };
}

function execOp(own: Process): Op {
  const [name = ''] = own.args;
  return {
    op: 'exec',
    what: `start "${name}"`,
    paths: execCandidates(own),
    argv: own.args,
    env: own.env,
  };
}

/**
 * Where the program may be, in the order in which they are tried: the path itself if the name has a slash, else each
 * directory of the container's PATH. Relative entries of PATH are left out: Go's exec.LookPath refuses them as well.
 * @throws StartError 127 with Docker's words where PATH leaves nothing to try
 */
export function execCandidates(own: Pick<Process, 'args' | 'env' | 'cwd'>): string[] {
  const [name = ''] = own.args;
  if (name.includes('/')) return [name.startsWith('/') ? name : join(own.cwd, name)];
  const path = own.env.findLast((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? '';
  const directories = path.split(':').filter((directory) => directory.startsWith('/'));
  if (name === '' || directories.length === 0) throw StartError.notInPath(name);
  return directories.map((directory) => join(directory, name));
}
