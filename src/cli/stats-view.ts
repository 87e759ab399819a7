import type { Stats } from '../engine/index.ts';
import { binarySize, statsColumns } from './stats-columns.ts';
import { ellipsis } from './table.ts';

export interface ViewSize {
  readonly columns: number;
  readonly rows: number;
}

type Fields = ReturnType<ReturnType<typeof statsColumns>>;

interface Row {
  readonly stats: Stats;
  readonly fields: Fields;
  /** Percents of one processor, oldest first. */
  readonly history: readonly number[];
}

interface Column {
  readonly heading: string;
  readonly width: number;
  readonly right?: boolean;
  readonly text: (row: Row) => string;
  /** How worrying it is: 0 to 1. */
  readonly worry?: (row: Row) => number;
}

const HISTORY = 20;
const BAR = 8;

/** Most wanted first: what does not fit beside them falls away. */
const COLUMNS: readonly Column[] = [
  { heading: 'NAME', width: 20, text: ({ stats }) => stats.container.name },
  { heading: 'CPU %', width: 8, right: true, text: ({ fields }) => fields.CPUPerc },
  { heading: '', width: HISTORY, text: ({ history }) => graph(history) },
  {
    heading: 'MEMORY',
    width: 9,
    right: true,
    text: ({ stats }) => binarySize(stats.usage?.memory ?? 0),
    worry: (row) => memoryShare(row),
  },
  { heading: '', width: BAR, text: (row) => bar(memoryShare(row)), worry: (row) => memoryShare(row) },
  { heading: 'PEAK', width: 9, right: true, text: ({ fields }) => fields.MemPeak },
  { heading: 'PIDS', width: 5, right: true, text: ({ fields }) => fields.PIDs },
  pressure('CPU', 'cpu'),
  pressure('MEM', 'memory'),
  pressure('I/O', 'io'),
  { heading: 'NET I/O', width: 17, right: true, text: ({ fields }) => fields.NetIO },
  { heading: 'BLOCK I/O', width: 17, right: true, text: ({ fields }) => fields.BlockIO },
];

function pressure(name: string, of: 'cpu' | 'memory' | 'io'): Column {
  return {
    heading: `${name} WAIT`,
    width: 8,
    right: true,
    text: ({ fields }) => ({ cpu: fields.PSICPU, memory: fields.PSIMem, io: fields.PSIIO })[of],
    // Half of the time is much.
    worry: ({ stats }) => Math.min(1, (stats.usage?.pressure[of]?.some.avg10 ?? 0) / 50),
  };
}

/** `stats` on a terminal: a table that is drawn over itself, with the last seconds of each container as a graph. */
export class StatsView {
  readonly #history = new Map<string, readonly number[]>();
  readonly #fields = statsColumns({ truncate: true });
  readonly #colour: boolean;

  constructor(how: { readonly colour: boolean }) {
    this.#colour = how.colour;
  }

  /** The next picture: lines that fit the terminal. */
  lines(all: readonly Stats[], size: ViewSize): string[] {
    const rows = all.map((stats) => this.#row(stats));
    for (const id of this.#history.keys()) {
      if (!all.some(({ container }) => container.id === id)) this.#history.delete(id);
    }
    const columns = fitting(size.columns);
    const room = Math.max(1, size.rows - 2);
    const shown = rows.length > room ? rows.slice(0, room - 1) : rows;
    return [
      this.#paint(columns.map((column) => padded(column.heading, column)).join('  '), DIM),
      ...shown.map((row) => columns.map((column) => this.#cell(column, row)).join('  ')),
      ...(shown.length < rows.length ? [`… and ${rows.length - shown.length} more`] : []),
    ];
  }

  #row(stats: Stats): Row {
    const { id } = stats.container;
    const history = [...(this.#history.get(id) ?? []), stats.cpuPercent].slice(-HISTORY);
    this.#history.set(id, history);
    return { stats, fields: this.#fields(stats), history };
  }

  #cell(column: Column, row: Row): string {
    const worry = column.worry?.(row) ?? 0;
    return this.#paint(padded(column.text(row), column), worry >= 0.9 ? RED : worry >= 0.7 ? YELLOW : '');
  }

  #paint(text: string, code: string): string {
    return this.#colour && code !== '' ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}

const DIM = '2';
const RED = '31';
const YELLOW = '33';

function fitting(width: number): Column[] {
  const columns: Column[] = [];
  let used = -2;
  for (const column of COLUMNS) {
    used += column.width + 2;
    if (used > width && columns.length > 0) break;
    columns.push(column);
  }
  return columns;
}

function padded(text: string, { width, right }: Column): string {
  const cut = ellipsis(text, width);
  const padding = ' '.repeat(width - [...cut].length);
  return right === true ? padding + cut : cut + padding;
}

function memoryShare({ stats: { usage } }: Row): number {
  return usage === undefined || usage.memoryLimit === 0 ? 0 : Math.min(1, usage.memory / usage.memoryLimit);
}

const HEIGHTS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WIDTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** One block for each value; as high as a whole processor, or as the highest of them where that is more. */
export function graph(percents: readonly number[]): string {
  const top = Math.max(100, ...percents);
  return percents.map((value) => HEIGHTS[Math.min(7, Math.floor((value / top) * 8))]).join('');
}

/** A bar of eight cells. @param share 0 to 1 */
export function bar(share: number): string {
  const eighths = Math.round(share * BAR * 8);
  return '█'.repeat(Math.floor(eighths / 8)) + (WIDTHS[eighths % 8] ?? '');
}
