import type { Pressure, Stats } from '../engine/index.ts';
import { humanSize } from './size.ts';

export const STATS_COLUMNS = {
  headings: {
    Container: 'CONTAINER',
    Name: 'NAME',
    ID: 'CONTAINER ID',
    CPUPerc: 'CPU %',
    MemUsage: 'MEM USAGE / LIMIT',
    MemPerc: 'MEM %',
    NetIO: 'NET I/O',
    BlockIO: 'BLOCK I/O',
    PIDs: 'PIDS',
    MemPeak: 'MEM PEAK',
    PSI: 'PRESSURE CPU / MEM / IO',
    PSICPU: 'CPU PRESSURE',
    PSIMem: 'MEM PRESSURE',
    PSIIO: 'I/O PRESSURE',
  },
  table: '{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}',
} as const;

type Fields = Readonly<Record<keyof (typeof STATS_COLUMNS)['headings'], string>>;

/**
 * What `stats` shows of a container, by Docker's field names; pressure is the share of the last ten seconds in which at
 * least one process waited.
 * @see https://github.com/docker/cli/blob/master/cli/command/container/formatter_stats.go
 */
export function statsColumns(how: { readonly truncate: boolean }): (stats: Stats) => Fields {
  return ({ container, cpuPercent, usage }) => {
    const id = how.truncate ? container.id.slice(0, 12) : container.id;
    const { cpu: onCpu, memory: onMemory, io: onIo } = usage?.pressure ?? {};
    const { memory = 0, memoryLimit = 0, received = 0, sent = 0, read = 0, written = 0 } = usage ?? {};
    return {
      Container: id,
      Name: container.name,
      ID: id,
      CPUPerc: percent(cpuPercent),
      MemUsage: `${binarySize(memory)} / ${binarySize(memoryLimit)}`,
      MemPerc: percent(memoryLimit === 0 ? 0 : (memory / memoryLimit) * 100),
      NetIO: `${humanSize(received)} / ${humanSize(sent)}`,
      BlockIO: `${humanSize(read)} / ${humanSize(written)}`,
      PIDs: String(usage?.pids ?? 0),
      MemPeak: usage?.memoryPeak === undefined ? UNKNOWN : binarySize(usage.memoryPeak),
      PSI: `${stall(onCpu)} / ${stall(onMemory)} / ${stall(onIo)}`,
      PSICPU: stall(onCpu),
      PSIMem: stall(onMemory),
      PSIIO: stall(onIo),
    };
  };
}

/** As Docker shows what it does not know. */
const UNKNOWN = '--';

function stall(pressure: Pressure | undefined): string {
  return pressure === undefined ? UNKNOWN : percent(pressure.some.avg10);
}

function percent(value: number): string {
  return `${value.toFixed(2)}%`;
}

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** Bytes with four significant digits: `1.934MiB`. @see go-units, BytesSize */
export function binarySize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < BINARY.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number(value.toPrecision(4))}${BINARY[unit]}`;
}
