import type { Command } from '../command.ts';
import { filterPair } from '../filter-pair.ts';
import { formatRows } from '../format.ts';
import { IMAGE_COLUMNS, imageFields, imageRows } from '../image-columns.ts';
import { imageFilter } from '../image-filter.ts';

const FILTERS = ['before', 'dangling', 'label', 'label!', 'reference', 'since', 'until'];

export const images: Command = {
  name: 'images',
  summary: 'List images',
  usage: '[OPTIONS] [REPOSITORY[:TAG]]',
  options: [
    { long: 'all', short: 'a', type: 'bool', help: 'Show all images (default hides dangling images)' },
    { long: 'digests', type: 'bool', help: 'Show digests' },
    {
      long: 'filter',
      short: 'f',
      type: 'list',
      value: 'filter',
      help: 'Filter output based on conditions provided',
    },
    { long: 'format', type: 'string', help: 'Format output using a Go template, "table TEMPLATE" or "json"' },
    { long: 'no-trunc', type: 'bool', help: "Don't truncate output" },
    { long: 'quiet', short: 'q', type: 'bool', help: 'Only show image IDs' },
    {
      long: 'tree',
      type: 'bool',
      help: 'List multi-platform images as a tree, with what their layers share',
    },
  ],
  operands: { min: 0, max: 1 },
  async run({ context, parsed, engine: open }) {
    if (parsed.bool('tree'))
      return (await import('../image-tree.ts')).showTrees(context, parsed, await open());
    const pairs = parsed.each('filter', filterPair);
    const filter = imageFilter(pairs, FILTERS);
    const engine = await open();
    const all = await engine.images();
    const now = Date.now();
    const rows = imageRows(
      all.filter((image) => filter.matches(image, { all, now })),
      {
        dangling: parsed.bool('all') || pairs.some(([key]) => key === 'dangling'),
        digests: parsed.bool('digests'),
        ...(parsed.operands[0] === undefined ? {} : { only: parsed.operands[0] }),
      },
    ).filter(({ repository, tag }) => filter.matchesName(repository, tag));
    const fields = imageFields({ now, truncate: !parsed.bool('no-trunc') });
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
