import type { NetworkSettings } from './plan.ts';

/**
 * What Docker's `inspect` has below NetworkSettings. The fields of the default network stand there twice, as they long did in
 * Docker: scripts ask for `.NetworkSettings.IPAddress` as well as for `.NetworkSettings.Networks.bridge.IPAddress`.
 * @param settings of the last start that runs; undefined: the container does not run, which leaves everything empty
 */
export function inspectNetwork(settings: NetworkSettings | undefined): Record<string, unknown> {
  const endpoint = {
    Gateway: settings?.gateway ?? '',
    GlobalIPv6Address: settings?.ipv6 ?? '',
    GlobalIPv6PrefixLen: settings?.prefix6 ?? 0,
    IPAddress: settings?.ip ?? '',
    IPPrefixLen: settings?.prefix ?? 0,
    IPv6Gateway: settings?.gateway6 ?? '',
    MacAddress: settings?.mac ?? '',
  };
  const name = settings?.mode === 'bridge' ? settings.network : settings?.mode;
  // A container in another's namespace has no networks of its own.
  const hasNetwork = name !== undefined && settings?.mode !== 'container';
  const network = { NetworkID: settings?.networkId ?? '', Aliases: null, Links: null, ...endpoint };
  return { Ports: settings?.ports ?? {}, ...endpoint, Networks: hasNetwork ? { [name]: network } : {} };
}
