/** Docker's shape of NetworkSettings.Ports: `{"80/tcp": [{HostIp, HostPort}]}`, null for exposed only. */
export type PortMap = Readonly<
  Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>
>;

interface Range {
  readonly key: string;
  readonly protocol: string;
  readonly ip: string | undefined;
  host: [number, number];
  container: [number, number];
}

/**
 * The PORTS column: `0.0.0.0:8080->80/tcp, [::]:8080->80/tcp`, neighbours as ranges `0.0.0.0:80-82->80-82/tcp`, exposed
 * only `8080/tcp`.
 * @see https://github.com/docker/cli/blob/master/cli/command/formatter/container.go (DisplayablePorts)
 */
export function displayPorts(ports: PortMap): string {
  const ranges: Range[] = [];
  for (const { protocol, ip, host, container } of entries(ports)) {
    const key = `${ip ?? ''}/${protocol}`;
    const last = ranges.findLast((range) => range.key === key);
    const adjacent =
      last !== undefined &&
      container === last.container[1] + 1 &&
      (ip === undefined || host === last.host[1] + 1);
    if (adjacent && last !== undefined) {
      last.container[1] = container;
      last.host[1] = host;
    } else {
      ranges.push({ key, protocol, ip, host: [host, host], container: [container, container] });
    }
  }
  return ranges.map(rangeText).join(', ');
}

interface Binding {
  readonly protocol: string;
  readonly ip: string | undefined;
  readonly host: number;
  readonly container: number;
}

function entries(ports: PortMap): Binding[] {
  const all = Object.entries(ports).flatMap(([key, bindings]): Binding[] => {
    const [port = '', protocol = 'tcp'] = key.split('/');
    const container = Number(port);
    if (bindings === null || bindings.length === 0) return [{ protocol, ip: undefined, host: 0, container }];
    return bindings.map(({ HostIp, HostPort }) => ({
      protocol,
      ip: HostIp,
      host: Number(HostPort),
      container,
    }));
  });
  return all.sort(
    (a, b) =>
      a.container - b.container ||
      a.protocol.localeCompare(b.protocol) ||
      order(a.ip) - order(b.ip) ||
      a.host - b.host,
  );
}

/** IPv4 before IPv6. */
function order(ip: string | undefined): number {
  return ip?.includes(':') === true ? 1 : 0;
}

function rangeText({ ip, protocol, host, container }: Range): string {
  const inside = `${span(container)}/${protocol}`;
  if (ip === undefined) return inside;
  const address = ip.includes(':') ? `[${ip}]` : ip;
  return `${address}:${span(host)}->${inside}`;
}

function span([first, last]: [number, number]): string {
  return first === last ? String(first) : `${first}-${last}`;
}
