/** A container's own /etc/hosts, /etc/hostname and /etc/resolv.conf, from its request and the host's files. */

import type { NetworkHost } from './host.ts';
import { hostnameFile, hostsFile, RESOLVED_CONF, resolvFile } from './hostfiles.ts';
import type { NetworkInput } from './plan.ts';

export interface EtcInput {
  readonly addresses: readonly string[];
  readonly ipv6: boolean;
  readonly hostGateway?: string;
  /** The container is in the host's network namespace: it sees what the host sees. */
  readonly sameNetwork?: boolean;
  /** Names are asked for at the container's own resolver. */
  readonly ownResolver?: boolean;
}

/** The three files, as texts. */
export function etcFiles(
  input: NetworkInput,
  host: NetworkHost,
  etc: EtcInput,
): { hosts: string; hostname: string; resolvConf: string } {
  const { request } = input;
  const base = etc.sameNetwork === true ? host.readText('/etc/hosts') : undefined;
  return {
    hosts: hostsFile({
      addresses: etc.addresses,
      hostname: input.hostname,
      extraHosts: request.extraHosts,
      ...(input.domainname === undefined ? {} : { domainname: input.domainname }),
      ...(etc.hostGateway === undefined ? {} : { hostGateway: etc.hostGateway }),
      ...(base === undefined ? {} : { base }),
    }),
    hostname: hostnameFile(input.hostname),
    resolvConf: resolvFile({
      host: host.readText('/etc/resolv.conf'),
      resolved: () => host.readText(RESOLVED_CONF),
      dns: request.dns,
      dnsSearch: request.dnsSearch,
      dnsOptions: request.dnsOptions,
      ipv6: etc.ipv6,
      sameNetwork: etc.sameNetwork === true,
      ownResolver: etc.ownResolver === true,
    }),
  };
}
