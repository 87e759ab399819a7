/**
 * What the user asked of a container. One object, `undefined` = not given; defaults live in spec.ts and nowhere else.
 * It is stored in container.json and never rewritten.
 */
export interface CreateOptions {
  readonly image: string;
  readonly command: readonly string[];
  readonly name?: string;
  readonly entrypoint?: readonly string[];
  readonly env: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly workingDir?: string;
  /** `user[:group]`, names or numbers. */
  readonly user?: string;
  readonly groupAdd: readonly string[];
  readonly hostname?: string;
  readonly domainname?: string;
  readonly tty: boolean;
  readonly openStdin: boolean;
  readonly attach: readonly ('stdin' | 'stdout' | 'stderr')[];
  readonly remove: boolean;
  /** Absent: `no`. */
  readonly restart?: {
    readonly policy: 'no' | 'on-failure' | 'always' | 'unless-stopped';
    /** Of `on-failure`; 0: without end. */
    readonly max: number;
  };
  readonly healthcheck?: HealthRequest;
  readonly healthOnFailure?: 'none' | 'kill' | 'restart' | 'stop';
  /** Seconds after which it is killed. */
  readonly lifetime?: number;
  readonly init: boolean;
  readonly readonlyRootfs: boolean;
  readonly privileged: boolean;
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly securityOpt: readonly SecurityOption[];
  readonly mounts: readonly MountRequest[];
  /** `--volumes-from CONTAINER[:ro|rw]`. */
  readonly volumesFrom?: readonly { readonly container: string; readonly readonly: boolean }[];
  readonly devices: readonly DeviceRequest[];
  readonly deviceCgroupRules: readonly string[];
  readonly ulimits: readonly { readonly name: string; readonly soft: number; readonly hard: number }[];
  readonly sysctls: Readonly<Record<string, string>>;
  /** Bytes. */
  readonly shmSize?: number;
  readonly stopSignal?: string;
  /** Seconds; -1 waits for ever. */
  readonly stopTimeout?: number;
  /** `container:X`: of the running container X. */
  readonly pidMode: 'private' | 'host' | `container:${string}`;
  readonly ipcMode: 'private' | 'host' | 'none' | `container:${string}`;
  readonly utsMode: 'private' | 'host';
  readonly cgroupnsMode: 'private' | 'host';
  readonly network: NetworkRequest;
  readonly limits: Limits;
  readonly logDriver: 'json-file' | 'local' | 'journald' | 'none';
  readonly logOptions: Readonly<Record<string, string>>;
  readonly platform?: string;
  /** The command line that asked for it, without the program, and where it was given. */
  readonly createCommand?: { readonly words: readonly string[]; readonly directory: string };
}

/** What is said over the image's HEALTHCHECK. Times in nanoseconds, as in the image. */
export type HealthRequest =
  | { readonly off: true }
  | {
      readonly off?: false;
      /** For the shell of the container. */
      readonly command?: string;
      readonly interval?: number;
      readonly timeout?: number;
      readonly retries?: number;
      readonly startPeriod?: number;
      readonly startInterval?: number;
    };

export type SecurityOption =
  | {
      readonly type: 'seccomp' /** JSON text of a profile, `unconfined` or `default`. */;
      readonly profile: string;
    }
  | { readonly type: 'no-new-privileges'; readonly on: boolean }
  | { readonly type: 'unmask'; readonly paths: readonly string[] | 'all' }
  | { readonly type: 'mask'; readonly paths: readonly string[] }
  | { readonly type: 'ignored'; readonly text: string };

export type MountRequest =
  | {
      readonly type: 'bind';
      readonly source: string;
      readonly target: string;
      readonly readonly: boolean;
      readonly propagation?: string;
      readonly recursive: boolean;
      /** `-v` makes a missing source, `--mount type=bind` refuses it. */
      readonly createSource: boolean;
      readonly options: readonly string[];
    }
  | { readonly type: 'tmpfs'; readonly target: string; readonly options: readonly string[] }
  | VolumeMount;

export interface VolumeMount {
  readonly type: 'volume';
  /** Absent: a volume of the container's own, which gets a name when the container is made. */
  readonly name?: string;
  readonly target: string;
  readonly readonly: boolean;
  /** Leave it empty rather than fill it with what the image has there. */
  readonly noCopy: boolean;
  readonly options: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** Of the local driver, for a volume that is not there yet. */
  readonly driverOptions?: Readonly<Record<string, string>>;
  /** Made for this container alone: set where the name was. */
  readonly anonymous?: boolean;
}

export interface DeviceRequest {
  readonly source: string;
  readonly target: string;
  /** Some of `rwm`. */
  readonly access: string;
}

export interface NetworkRequest {
  readonly mode:
    | { readonly type: 'bridge'; readonly network: string }
    | { readonly type: 'none' }
    | { readonly type: 'host' }
    | { readonly type: 'container'; readonly container: string };
  readonly publish: readonly PortRequest[];
  readonly publishAll: boolean;
  readonly expose: readonly string[];
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  /** `name:address` or `name:host-gateway`. */
  readonly extraHosts: readonly string[];
  readonly macAddress?: string;
  readonly ip?: string;
  /** Further names on the first network. */
  readonly aliases?: readonly string[];
  /** The networks behind the first. */
  readonly more?: readonly EndpointRequest[];
  readonly rates?: NetworkRates;
}

/** Bytes a second, on each of its interfaces. Absent: as its network has it; 0: without limit. */
export interface NetworkRates {
  readonly in?: number;
  readonly out?: number;
  /** Bytes that may pass at once; 0: chosen by the rate. */
  readonly burst?: number;
}

/** A network that a container is connected to. */
export interface EndpointRequest {
  /** Name or id. */
  readonly network: string;
  readonly aliases: readonly string[];
  readonly ip?: string;
  readonly macAddress?: string;
}

/** One `-p`: ranges are of equal length, checked by the parser. */
export interface PortRequest {
  readonly protocol: 'tcp' | 'udp';
  /** Address of the host; absent: all, IPv4 and IPv6. */
  readonly hostIp?: string;
  /** First host port; 0: any free one. */
  readonly hostPort: number;
  /** Last host port: larger than hostPort with a single container port means any free one of the range. */
  readonly hostPortEnd: number;
  readonly containerPort: number;
  readonly containerPortEnd: number;
}

/** Resource limits as given: bytes, microseconds, Docker's meaning of each flag. */
export interface Limits {
  readonly memory?: number;
  readonly memoryReservation?: number;
  /** Memory plus swap; -1 unlimited. */
  readonly memorySwap?: number;
  readonly memorySwappiness?: number;
  readonly memoryHigh?: number;
  readonly oomKillDisable?: boolean;
  readonly oomScoreAdj?: number;
  /** Out of memory, all of the container is killed, not one of its processes. */
  readonly oomGroup?: boolean;
  /** CPUs, such as 0.5. */
  readonly cpus?: number;
  readonly cpuShares?: number;
  readonly cpuQuota?: number;
  readonly cpuPeriod?: number;
  readonly cpuRtRuntime?: number;
  readonly cpuRtPeriod?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  /** -1 or 0 unlimited. */
  readonly pidsLimit?: number;
  readonly blkioWeight?: number;
  readonly blkioWeightDevice?: readonly { readonly path: string; readonly weight: number }[];
  readonly deviceReadBps?: readonly DeviceRate[];
  readonly deviceWriteBps?: readonly DeviceRate[];
  readonly deviceReadIops?: readonly DeviceRate[];
  readonly deviceWriteIops?: readonly DeviceRate[];
  readonly cgroupParent?: string;
  /** `--cgroup-conf FILE=VALUE`. */
  readonly cgroupConf?: Readonly<Record<string, string>>;
}

export interface DeviceRate {
  /** A block device node of the host. */
  readonly path: string;
  readonly rate: number;
}
