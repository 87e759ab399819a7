import type { Call, Command } from '../command.ts';
import type { PortMap } from '../published-ports.ts';

export const port: Command = {
  name: 'port',
  summary: 'List port mappings or a specific mapping for the container',
  usage: 'CONTAINER [PRIVATE_PORT[/PROTO]]',
  options: [],
  operands: { min: 1, max: 2 },
  async run({ context, parsed, engine: open }: Call) {
    const [name = '', wanted] = parsed.operands;
    const ports = await (await open()).ports(name);
    const lines = wanted === undefined ? allPorts(ports) : onePort(ports, wanted);
    if (lines === undefined) {
      context.stderr.write(`tinyrun: no public port '${wanted}' published for ${name}\n`);
      return 1;
    }
    context.stdout.write(lines.map((line) => `${line}\n`).join(''));
    return 0;
  },
};

/** `80/tcp -> 0.0.0.0:8080`, in order. */
export function allPorts(ports: PortMap): string[] {
  return Object.keys(ports)
    .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10) || (a < b ? -1 : 1))
    .flatMap((key) => addresses(ports, key).map((address) => `${key} -> ${address}`));
}

/** The addresses of one; undefined where it is not published. */
export function onePort(ports: PortMap, wanted: string): string[] | undefined {
  const [number = '', protocol = 'tcp'] = wanted.split('/');
  const found = addresses(ports, `${number}/${protocol.toLowerCase()}`);
  return found.length === 0 ? undefined : found;
}

function addresses(ports: PortMap, key: string): string[] {
  const bindings = Object.hasOwn(ports, key) ? (ports[key] ?? []) : [];
  return bindings.map(({ HostIp, HostPort }) =>
    HostIp.includes(':') ? `[${HostIp}]:${HostPort}` : `${HostIp}:${HostPort}`,
  );
}
