import type { Command } from '../command.ts';
import { formatRows } from '../format.ts';
import { IMAGE_COLUMNS, imageFields, imageRows } from '../image-columns.ts';

export const images: Command = {
  name: 'images',
  summary: 'List images',
  usage: '[OPTIONS] [REPOSITORY[:TAG]]',
  options: [
    { long: 'all', short: 'a', type: 'bool', help: 'Show all images (default hides dangling images)' },
    { long: 'digests', type: 'bool', help: 'Show digests' },
    { long: 'format', type: 'string', help: 'Format output using a Go template, "table TEMPLATE" or "json"' },
    { long: 'no-trunc', type: 'bool', help: "Don't truncate output" },
    { long: 'quiet', short: 'q', type: 'bool', help: 'Only show image IDs' },
  ],
  operands: { min: 0, max: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const rows = imageRows(await engine.images(), {
      dangling: parsed.bool('all'),
      digests: parsed.bool('digests'),
      ...(parsed.operands[0] === undefined ? {} : { only: parsed.operands[0] }),
    });
    const fields = imageFields({ now: Date.now(), truncate: !parsed.bool('no-trunc') });
    if (parsed.bool('quiet')) {
      const ids = new Set(rows.map((row) => fields(row).ID));
      context.stdout.write([...ids].map((id) => `${id}\n`).join(''));
      return 0;
    }
    const table = parsed.bool('digests') ? IMAGE_COLUMNS.tableWithDigests : IMAGE_COLUMNS.table;
    context.stdout.write(
      formatRows(rows, parsed.string('format'), { headings: IMAGE_COLUMNS.headings, table, fields }),
    );
    return 0;
  },
};
