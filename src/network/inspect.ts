import type { NetworkRates } from '../engine/options.ts';
import type { EndpointSettings, NetworkSettings } from './plan.ts';

/**
 * What Docker's `inspect` has below NetworkSettings. The fields of the default network stand there twice, as they long did in
 * Docker: scripts ask for `.NetworkSettings.IPAddress` as well as for `.NetworkSettings.Networks.bridge.IPAddress`.
 * @param settings of the last start that runs; undefined: the container does not run, which leaves everything empty
 */
export function inspectNetwork(settings: NetworkSettings | undefined): Record<string, unknown> {
  const name = settings?.mode === 'bridge' ? settings.network : settings?.mode;
  // A container in another's namespace has no networks of its own.
  const hasNetwork = name !== undefined && settings?.mode !== 'container';
  const networks = hasNetwork ? [[name, settings] as const] : [];
  for (const one of settings?.more ?? [])
    networks.push([one.network ?? '', { ...one, mode: 'bridge', ports: {} }]);
  return {
    Ports: settings?.ports ?? {},
    ...endpointOf(settings),
    Networks: Object.fromEntries(
      networks.map(([network, one]) => [
        network,
        { NetworkID: one?.networkId ?? '', Aliases: one?.aliases ?? null, Links: null, ...endpointOf(one) },
      ]),
    ),
  };
}

function endpointOf(settings: EndpointSettings | undefined): Record<string, unknown> {
  return {
    Gateway: settings?.gateway ?? '',
    GlobalIPv6Address: settings?.ipv6 ?? '',
    GlobalIPv6PrefixLen: settings?.prefix6 ?? 0,
    IPAddress: settings?.ip ?? '',
    IPPrefixLen: settings?.prefix ?? 0,
    IPv6Gateway: settings?.gateway6 ?? '',
    MacAddress: settings?.mac ?? '',
    ...(settings?.bandwidth === undefined ? {} : { Rate: rateView(settings.bandwidth) }),
  };
}

/** Bits a second, and bytes. 0: without limit, or chosen by the rate. */
export function rateView(rates: NetworkRates): { In: number; Out: number; Burst: number } {
  return {
    In: Math.round((rates.in ?? 0) * 8),
    Out: Math.round((rates.out ?? 0) * 8),
    Burst: rates.burst ?? 0,
  };
}
