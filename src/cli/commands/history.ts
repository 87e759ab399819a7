import type { HistoryStep } from '../../engine/index.ts';
import type { Command } from '../command.ts';
import { ago } from '../duration.ts';
import { formatRows } from '../format.ts';
import { humanSize } from '../size.ts';
import { ellipsis } from '../table.ts';

const COLUMNS = {
  headings: {
    ID: 'IMAGE',
    CreatedSince: 'CREATED',
    CreatedAt: 'CREATED AT',
    CreatedBy: 'CREATED BY',
    Size: 'SIZE',
    Comment: 'COMMENT',
  },
  table: '{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}',
} as const;

/** Characters of a step's command that the table shows. */
const SHOWN_COMMAND = 45;

export const history: Command = {
  name: 'history',
  summary: 'Show the history of an image',
  usage: '[OPTIONS] IMAGE',
  options: [
    { long: 'format', type: 'string', help: 'Format output using a Go template, "table TEMPLATE" or "json"' },
    {
      long: 'human',
      short: 'H',
      type: 'bool',
      default: true,
      help: 'Print sizes and dates in human readable format',
    },
    { long: 'no-trunc', type: 'bool', help: "Don't truncate output" },
    { long: 'quiet', short: 'q', type: 'bool', help: 'Only show image IDs' },
  ],
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const [name = ''] = parsed.operands;
    const steps = await engine.history(name);
    const fields = historyFields({
      now: Date.now(),
      truncate: !parsed.bool('no-trunc'),
      human: parsed.bool('human', true),
    });
    const format = parsed.bool('quiet') ? '{{.ID}}' : parsed.string('format');
    context.stdout.write(formatRows(steps, format, { ...COLUMNS, fields }));
    return 0;
  },
};

/** @param how `now` in milliseconds since the epoch */
export function historyFields(how: {
  readonly now: number;
  readonly truncate: boolean;
  readonly human: boolean;
}): (step: HistoryStep) => Readonly<Record<keyof (typeof COLUMNS)['headings'], string>> {
  return ({ id, created, createdBy, size, comment }) => {
    // A tab would begin another column.
    const command = createdBy.replaceAll('\t', ' ');
    return {
      ID: id === undefined ? '<missing>' : how.truncate ? id.replace('sha256:', '').slice(0, 12) : id,
      CreatedSince: how.human ? ago(created, how.now) || 'N/A' : (created ?? 'N/A'),
      CreatedAt: created ?? 'N/A',
      CreatedBy: how.truncate ? ellipsis(command, SHOWN_COMMAND) : command,
      Size: how.human ? humanSize(size, 3) : String(size),
      Comment: comment,
    };
  };
}
