import type { Command } from '../command.ts';
import { print } from '../format.ts';

/** The package's version, put in by the bundler. */
export const VERSION = typeof TINYRUN_VERSION === 'string' ? TINYRUN_VERSION : 'dev';

export const version: Command = {
  name: 'version',
  summary: 'Show the version',
  usage: '[OPTIONS]',
  options: [
    { long: 'format', short: 'f', type: 'string', help: 'Format output using a Go template' },
    { long: 'short', type: 'bool', help: 'One line only', hidden: true },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed }) {
    if (parsed.bool('short')) {
      context.stdout.write(`tinyrun version ${VERSION}\n`);
      return 0;
    }
    const facts = { Version: VERSION, Os: 'linux', Arch: context.architecture, Node: context.nodeVersion };
    const format = parsed.string('format');
    if (format !== undefined) return print(context, facts, format);
    context.stdout.write(
      `tinyrun:\n Version:  ${facts.Version}\n OS/Arch:  ${facts.Os}/${facts.Arch}\n Node:     ${facts.Node}\n`,
    );
    return 0;
  },
};
