/**
 * The launch plan: everything that is privileged or ordered about a start, as a value. TypeScript compiles it, the
 * monitor (native/monitor.c) carries it out with a dumb loop. Five lists, in the order of their life:
 *
 *     monitor                                        container's first process
 *     prepare   before the clone: directories,
 *               cgroups, port reservations
 *        |-- clone3(namespaces) ----------------------> child     until exec
 *     connect   the child's pid is known:                 |
 *               veth into its network namespace           |
 *        '-- "connected" ------------------------> op `await connected`
 *     <---------------- exec succeeded (CLOEXEC pipe closes) | {phase, opIndex, errno}
 *     ... pumps stdio, waits ...
 *     release   it is dead, nobody knows yet: ports, name, lease
 *        `-- exit record on disk, exit reported to the clients
 *     cleanup   what nobody waits for: cgroups, upper directory
 *
 * Where it has ended and is to be started again, `child` and `connect` run anew before `release`: what `prepare` has acquired stays.
 *
 * A failure of `prepare`, `child` or `connect` runs `release` and `cleanup`. `what` never crosses the boundary: native code
 * reports {phase, opIndex, errno} and TypeScript owns the sentence.
 */
export type Phase = 'prepare' | 'child' | 'connect' | 'release' | 'cleanup' | 'probe';

export interface LaunchPlan {
  readonly monitor: MonitorOptions;
  /** CLONE_NEW* names for clone3. The cgroup namespace is not here: it is unshared after the cgroup is joined. */
  readonly namespaces: readonly CloneNamespace[];
  /** cgroup v2 directory to be born in (CLONE_INTO_CGROUP); made by `prepare`. */
  readonly cgroupDirectory?: string;
  readonly prepare: readonly Op[];
  readonly child: readonly Op[];
  readonly connect: readonly Op[];
  readonly release: readonly Op[];
  readonly cleanup: readonly Op[];
  /** The health check: the list of a process that joins the container, its paths of namespaces relative to the container's /proc/<pid>. */
  readonly probe?: readonly Op[];
}

export type CloneNamespace = 'mount' | 'pid' | 'uts' | 'ipc' | 'network' | 'user';

/** What the monitor itself does, apart from the ops. Absolute host paths. */
export interface MonitorOptions {
  /** Shown as the process's name, `tinyrun:[<first 12>]`. */
  readonly id: string;
  /** The monitor replaces this file (temporary + rename): see `StateRecord` in launch.ts. */
  readonly statePath: string;
  /** Absent: no log is kept. */
  readonly log?: LogOptions;
  /** Unix stream socket for attaching; absent: none. */
  readonly attachSocket?: string;
  /** Give the container a pseudo-terminal. Needs a `console` op in `child`. */
  readonly tty: boolean;
  /** Keep the container's stdin open for clients; otherwise it reads /dev/null. */
  readonly openStdin: boolean;
  /** Close the container's stdin when the first attached client's stdin ends or that client leaves (Docker's StdinOnce). */
  readonly stdinOnce: boolean;
  /** Kill the process and its group when the client that launched it goes away (`exec --with-client`). */
  readonly withClient?: boolean;
  /** Events go to this file, a line of JSON each: `die` (or `exec_die`), `oom`, `destroy` where the plan removes the container. */
  readonly journal?: {
    readonly path: string;
    /** The event's actor as JSON without the two braces that end it: `{"ID":"…","Attributes":{"image":"busybox"`. Bounded: see journal.c. */
    readonly actor: string;
    readonly of: 'container' | 'exec';
  };
  /** `release` removes the container's files (`--rm`). */
  readonly removes?: boolean;
  readonly restart?: RestartOptions;
  /** The container is killed when it has run for so long, ms; after a restart anew. */
  readonly lifetimeMs?: number;
  readonly health?: HealthOptions;
  /** Which file says that the kernel killed for memory: v2 `memory.events`, v1 `memory.oom_control` (both have `oom_kill N`). */
  readonly oomPath?: string;
  /** Sent SIGKILL first, before the namespace dies by itself: v2 `cgroup.kill`; or v1 `tasks`/`cgroup.procs` to be walked. */
  readonly killPath?: string;
}

/** As `enum tr_log_format`. */
export const LOG_FORMATS = ['json', 'local', 'journald'] as const;

export interface LogOptions {
  /** A file; of `journald` its socket. */
  readonly path: string;
  /** 0: never rotated. */
  readonly maxBytes: number;
  readonly maxFiles: number;
  /** Default: `json`, as Docker's json-file driver writes it; `local`: see native/log.c. */
  readonly format?: (typeof LOG_FORMATS)[number];
  /** Of every entry: a JSON object, or journald's fields as lines. At most 2048 bytes. */
  readonly attributes?: string;
}

/** As `enum tr_restart`; `never` only in the file. */
export const RESTART_POLICIES = ['no', 'on-failure', 'always', 'unless-stopped', 'never'] as const;

/** When the container is started again, with Docker's pauses in between. */
export interface RestartOptions {
  readonly policy: (typeof RESTART_POLICIES)[number];
  /** Of `on-failure`; 0: without end. */
  readonly max: number;
  /** `<index in RESTART_POLICIES> <max>` in this file overrides the policy. SIGUSR1 makes a waiting monitor read it. */
  readonly policyPath: string;
}

/** As `enum tr_on_unhealthy`. */
export const UNHEALTHY_ACTIONS = ['none', 'kill', 'restart', 'stop'] as const;

/** How the list `probe` is used; times in ms. */
export interface HealthOptions {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly retries: number;
  readonly startPeriodMs: number;
  readonly startIntervalMs: number;
  readonly onUnhealthy: (typeof UNHEALTHY_ACTIONS)[number];
  /** For `restart` and `stop`. */
  readonly stopSignal: number;
  readonly stopTimeoutMs: number;
  /** The monitor keeps the results in this file: `HealthRecord` in src/engine/health.ts. */
  readonly path: string;
  /** Says whether the container stands still: cgroup.freeze or freezer.state. */
  readonly freezerPath?: string;
}

/** Mount attributes, each on or off for the new mount. */
export type MountFlag =
  | 'ro'
  | 'nosuid'
  | 'nodev'
  | 'noexec'
  | 'noatime'
  | 'relatime'
  | 'nodiratime'
  | 'strictatime'
  | 'nosymfollow';
export type Propagation =
  | 'private'
  | 'rprivate'
  | 'slave'
  | 'rslave'
  | 'shared'
  | 'rshared'
  | 'unbindable'
  | 'runbindable';

interface Common {
  /** Said when the op fails: completes `Cannot …`, such as `mount proc on "/proc"`. */
  readonly what: string;
  /** Go on where it fails (used where Docker, too, only tries). */
  readonly optional?: boolean;
}

/** Paths are absolute. `in root` means: resolved below the container's root (openat2 RESOLVE_IN_ROOT), never through it. */
export type Op = Common &
  // ---- files of the host: monitor phases, and the child before pivotRoot ----
  (
    | {
        readonly op: 'mkdir';
        readonly path: string;
        readonly mode: number;
        /** Fine if it is there. */
        readonly existing?: boolean;
      }
    | {
        readonly op: 'writeFile';
        readonly path: string;
        /** In one write. */
        readonly text: string;
        /** Make the file (mode 0644) or empty it; else it must be there. */
        readonly create?: boolean;
      }
    /** Also fine where it is missing, as `rmdir`, `removeTree` and `killCgroup` are. */
    | { readonly op: 'unlink'; readonly path: string }
    | {
        readonly op: 'rmdir';
        readonly path: string;
        /** Try again for so long while busy (a dying cgroup), ms. */
        readonly patienceMs?: number;
      }
    | { readonly op: 'rename'; readonly from: string; readonly to: string }
    /** Follows no link, enters no other mount: EBUSY where one is in it. */
    | { readonly op: 'removeTree'; readonly path: string }
    /**
     * Sends SIGKILL to every process of a cgroup and waits until it is empty: `cgroup.kill` where it is, else its tasks. Removes the
     * cgroups that the container has made below.
     */
    | { readonly op: 'killCgroup'; readonly path: string; readonly patienceMs: number }
    /**
     * The cgroup v2 form of the devices controller: loads a BPF_PROG_TYPE_CGROUP_DEVICE program and attaches it
     * (BPF_F_ALLOW_MULTI) to the cgroup directory. `program` is struct bpf_insn[] in host byte order.
     */
    | { readonly op: 'deviceFilter'; readonly path: string; readonly program: Uint8Array }
    // ---- network ----
    /** One or more netlink messages in one sendto; every one with NLM_F_ACK is waited for. */
    | {
        readonly op: 'netlink';
        readonly protocol: 'route' | 'netfilter';
        readonly messages: Uint8Array;
        /** Offset of a u32 in `messages` that becomes the child's pid (monitor phases only). */
        readonly pidOffset?: number;
        /** A file whose messages are sent in place of these, where it is there by then (monitor phases only). */
        readonly instead?: string;
      }
    /** Reserves a host port now (EADDRINUSE is the op's failure) and, once connected, forwards from it. */
    | {
        readonly op: 'listen';
        readonly protocol: 'tcp' | 'udp';
        /** IPv4 or IPv6 literal to bind; IPv6 sockets are v6-only. */
        readonly address: string;
        readonly port: number;
        readonly targetAddress: string;
        readonly targetPort: number;
      }
    /** Gives the ports of all `listen` back. In `release` after what leads to them, before what tells that the container is gone. */
    | { readonly op: 'closePorts' }
    /**
     * A DNS server on 127.0.0.11:53 of the container, answered by the monitor: names of the networks whose lease directories are
     * given, anything else by the host's servers. In the child, when the network is up.
     */
    | {
        readonly op: 'resolver';
        /** Of leases; their last component is the network's name. */
        readonly directories: readonly string[];
        /** Addresses to pass questions on to; none: those of `resolvConf` as it is then, without that to nobody. */
        readonly servers: readonly string[];
        readonly resolvConf?: string;
        /** What `host.tinyrun.internal` means. */
        readonly host?: string;
      }
    // ---- namespaces ----
    /** Opened before the clone by the monitor, entered by the child. `path` such as /proc/123/ns/net. */
    | {
        readonly op: 'joinNamespace';
        readonly path: string;
        readonly type: CloneNamespace | 'cgroup' | 'time';
      }
    | { readonly op: 'unshare'; readonly type: 'cgroup' | 'time' }
    | { readonly op: 'await'; readonly tag: 'connected' | 'mapped' }
    /** Asks the monitor to write uid_map/gid_map (user namespace); answered by `await mapped`. */
    | { readonly op: 'mapIds'; readonly uidMap: string; readonly gidMap: string }
    // ---- file systems ----
    /**
     * Propagation of `/`: of the host's tree as the first thing in the new mount namespace, of the container's root after the pivot.
     * The mount that the root is made in becomes private in any case, so `shared` lets out only what is mounted in shared binds.
     */
    | { readonly op: 'rootPropagation'; readonly propagation: Propagation }
    | {
        readonly op: 'overlay';
        /** Top layer first, as in the overlay's `lowerdir=`. */
        readonly lower: readonly string[];
        readonly upper?: string;
        readonly work?: string;
        readonly options: readonly string[];
        /** Existing host directory to mount on; it becomes the container's root. */
        readonly target: string;
      }
    /** A directory of the host as the container's root (`--rootfs`, OCI bundles). */
    | { readonly op: 'bindRoot'; readonly source: string }
    /** A new mount in root; the target is made if it is missing. */
    | {
        readonly op: 'mount';
        readonly fstype: string;
        readonly source: string;
        readonly target: string;
        readonly flags: readonly MountFlag[];
        /** Comma-separated file system options. */
        readonly data: string;
        readonly propagation?: Propagation;
      }
    /** A host path bound in root; the target is made (file or directory, as the source is) if it is missing. */
    | {
        readonly op: 'bind';
        readonly source: string;
        readonly target: string;
        readonly recursive: boolean;
        readonly flags: readonly MountFlag[];
        /** Apply `flags` to all mounts below as well (mount_setattr AT_RECURSIVE). */
        readonly recursiveFlags?: boolean;
        readonly propagation?: Propagation;
      }
    /**
     * A path below layers, or below one directory, bound in root. The path is resolved below them and never through them, by the
     * same call that takes what it names: nobody can put a link of his own between the two (CVE-2024-23651, CVE-2024-1753).
     */
    | {
        readonly op: 'bindBelow';
        /** Top first. */
        readonly layers: readonly string[];
        /** Takes what is written to it. */
        readonly upper?: string;
        readonly work?: string;
        /** Existing host directory where several layers are put together for a moment. */
        readonly stage: string;
        readonly path: string;
        readonly target: string;
        readonly flags: readonly MountFlag[];
      }
    | {
        readonly op: 'mkdirInRoot';
        readonly path: string;
        readonly mode: number;
        readonly uid: number;
        readonly gid: number;
      }
    /** What another container has mounted at `source`, as it sees that path, bound in root. `namespace`: its mount namespace. */
    | {
        readonly op: 'bindForeign';
        readonly namespace: string;
        readonly source: string;
        readonly target: string;
      }
    | { readonly op: 'symlinkInRoot'; readonly target: string; readonly path: string }
    | {
        readonly op: 'mknod';
        readonly path: string;
        readonly type: 'c' | 'b' | 'p';
        readonly mode: number;
        readonly major: number;
        readonly minor: number;
        readonly uid: number;
        readonly gid: number;
      }
    | { readonly op: 'pivotRoot' }
    /** The root itself read-only, after everything is in place. */
    | { readonly op: 'readonlyRoot' }
    /** /dev/null over a file, an empty read-only tmpfs over a directory; nothing where the path is missing. */
    | { readonly op: 'maskPath'; readonly path: string }
    | { readonly op: 'readonlyPath'; readonly path: string }
    /** Write below /proc/sys through a procfs of our own (CVE-2025-52881). `key` as `net/ipv4/ip_forward`. */
    | { readonly op: 'sysctl'; readonly key: string; readonly value: string }
    // ---- the process ----
    | { readonly op: 'hostname'; readonly name: string }
    | { readonly op: 'domainname'; readonly name: string }
    /** Opens the pty in root's devpts, hands the master to the monitor, makes the slave the controlling terminal and fds 0–2, and binds it on /dev/console unless the mount namespace was joined. */
    | { readonly op: 'console'; readonly rows: number; readonly columns: number }
    | { readonly op: 'rlimit'; readonly resource: string; readonly soft: bigint; readonly hard: bigint }
    /** chdir in root, then getcwd must be below it (CVE-2024-21626); made if missing. */
    | { readonly op: 'cwd'; readonly path: string; readonly create: boolean }
    | { readonly op: 'umask'; readonly mask: number }
    | {
        readonly op: 'user';
        readonly uid: number;
        readonly gid: number;
        readonly groups: readonly number[];
        /** Keep the permitted capabilities over the change of ids, until `caps`. */
        readonly keepCaps: boolean;
      }
    /** Drops from the bounding set whatever is not in the mask. Before `user`. */
    | { readonly op: 'boundingCaps'; readonly mask: bigint }
    | {
        readonly op: 'caps';
        readonly effective: bigint;
        readonly permitted: bigint;
        readonly inheritable: bigint;
        readonly ambient: bigint;
      }
    | { readonly op: 'noNewPrivileges' }
    /** A BPF program, sock_filter[] in host byte order; `flags` of SECCOMP_SET_MODE_FILTER. */
    | { readonly op: 'seccomp'; readonly program: Uint8Array; readonly flags: number }
    /** Fork here: the child goes on with the rest, this process becomes the reaping init, as a sealed copy of its binary. */
    | { readonly op: 'init' }
    /** Last: tries each path in turn as execvp does (ENOENT, ENOTDIR and EACCES go on), reports the most telling errno. */
    | {
        readonly op: 'exec';
        readonly paths: readonly string[];
        readonly argv: readonly string[];
        readonly env: readonly string[];
      }
  );

/** Where and why a launch failed. */
export interface LaunchFailure {
  readonly phase: Phase | 'clone' | 'monitor';
  /** Index in that phase's list; -1 where no op was under way. */
  readonly opIndex: number;
  /** Symbolic, such as `ENOENT`. */
  readonly errno: string;
}
