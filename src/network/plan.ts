/** What a container's start asks of the networks, and what it gets: values only. */
import type { NetworkRequest } from '../engine/options.ts';
import type { Op } from '../native/plan.ts';
import type { Bandwidth } from './bandwidth.ts';
import type { PortMap } from './ports.ts';

export interface NetworkInput {
  /** The container's 64 hex digits. */
  readonly id: string;
  readonly name: string;
  readonly hostname: string;
  readonly domainname?: string;
  readonly request: NetworkRequest;
  /** EXPOSE of the image, such as `80/tcp`. */
  readonly exposed: readonly string[];
  /** A file that `Networks.changePorts` puts there: what is taken out of the firewall in place of what was planned. */
  readonly releasePath?: string;
  /** Files that `Networks.changeRates` puts there: what limits the bandwidth, and takes that back, in place of what was planned. */
  readonly rateFiles?: { readonly set: string; readonly release: string };
  /** The running container that `--network container:X` means. @throws where there is none or it does not run */
  readonly containerNamespace?: (idOrName: string) => { readonly pid: number; readonly id: string };
}

export interface NetworkPlan {
  /** Monitor, before the clone: port reservations, then the firewall's elements. */
  readonly prepare: readonly Op[];
  /** Child, after `await connected`, in the container's namespace. */
  readonly child: readonly Op[];
  /** Monitor, once the child's pid is known. */
  readonly connect: readonly Op[];
  /** Monitor, when the container is dead. Before the reserved ports are closed: see `planBridge`. */
  readonly release: readonly Op[];
  readonly namespace:
    | { readonly type: 'new' }
    | { readonly type: 'host' }
    | { readonly type: 'path'; readonly path: string };
  /** Texts of the container's own files. */
  readonly etc: { readonly hosts?: string; readonly hostname?: string; readonly resolvConf?: string };
  /** Share the files of this container instead: `--network container:X`. */
  readonly etcOf?: string;
  readonly settings: NetworkSettings;
  /** One line each, for the user. */
  readonly warnings: readonly string[];
  /** A host port was chosen freely: on a conflict the same request, planned anew, gets another. */
  readonly randomPorts: boolean;
  /** Gives back what planning took, for a start that did not come to the launch. */
  undo(): void;
}

/** For inspect and ps. */
export interface NetworkSettings extends EndpointSettings {
  readonly mode: 'bridge' | 'none' | 'host' | 'container';
  /** The networks behind the first. */
  readonly more?: readonly EndpointSettings[];
  readonly ports: PortMap;
}

/** Addresses as text. */
export interface EndpointSettings {
  /** Name and id of the network, where it is one of ours. */
  readonly network?: string;
  readonly networkId?: string;
  readonly ip?: string;
  readonly prefix?: number;
  readonly gateway?: string;
  readonly mac?: string;
  readonly ipv6?: string;
  readonly prefix6?: number;
  readonly gateway6?: string;
  /** The veth's end on the host. */
  readonly hostInterface?: string;
  readonly aliases?: readonly string[];
  /** Absent: without limit. */
  readonly bandwidth?: Bandwidth;
}
