import type { Command } from '../command.ts';
import { ago } from '../duration.ts';
import { humanSize } from '../size.ts';
import { renderTable } from '../table.ts';

export const builderDu: Command = {
  name: 'builder du',
  summary: 'Show what the build cache takes of the disk',
  usage: '[OPTIONS]',
  options: [{ long: 'verbose', type: 'bool', help: 'Say of each entry what it is' }],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const entries = [...(await engine.buildCache())].reverse();
    const now = Date.now();
    if (parsed.bool('verbose')) {
      for (const { id, type, description, size, lastUsed, reclaimable } of entries) {
        const rows = [
          ['ID:', id],
          ['Type:', type],
          ['Description:', description],
          ['Reclaimable:', String(reclaimable)],
          ['Size:', humanSize(size, 4)],
          ['Last used:', ago(lastUsed.toISOString(), now)],
        ];
        context.stdout.write(`${renderTable(rows)}\n`);
      }
    } else {
      const rows = entries.map(({ id, size, lastUsed, reclaimable }) => [
        id.slice(0, 25),
        String(reclaimable),
        humanSize(size, 4),
        ago(lastUsed.toISOString(), now),
      ]);
      context.stdout.write(renderTable([['ID', 'RECLAIMABLE', 'SIZE', 'LAST ACCESSED'], ...rows]));
    }
    const sum = (matching: typeof entries): number => matching.reduce((total, { size }) => total + size, 0);
    const reclaimable = sum(entries.filter((entry) => entry.reclaimable));
    context.stdout.write(
      `Reclaimable:\t${humanSize(reclaimable, 4)}\nTotal:\t\t${humanSize(sum(entries), 4)}\n`,
    );
    return 0;
  },
};
