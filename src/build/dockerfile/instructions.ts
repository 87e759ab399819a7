import { TinyrunError } from '../../errors.ts';
import type { Escape, Heredoc, Instruction, InstructionName, Location, Source } from './ast.ts';
import { parseFlags } from './flags.ts';
import { parseHealthcheck } from './healthcheck.ts';
import { chomp, heredocOf } from './heredoc.ts';
import { rawMount } from './run-mount.ts';
import { didYouMean } from './suggest.ts';
import {
  type CommandParts,
  parseCommandLine,
  parseJsonWords,
  parsePairs,
  parseWordList,
  plainWords,
  splitCommand,
  splitWords,
} from './words.ts';

/** One line of a Dockerfile, as lines.ts gives it. */
export interface InstructionLine {
  readonly text: string;
  readonly location: Location;
  readonly comments: readonly string[];
  readonly heredocs: readonly Heredoc[];
}

interface Input extends CommandParts {
  readonly escape: Escape;
  readonly heredocs: readonly Heredoc[];
  readonly line: InstructionLine;
}

/** What an instruction has besides its name and its place. */
type Body<Name extends InstructionName> = Omit<
  Extract<Instruction, { name: Name }>,
  'name' | 'location' | 'original' | 'written' | 'comments'
>;

const PARSERS: { readonly [Name in InstructionName]: (input: Input) => Body<Name> } = {
  FROM: parseFrom,
  RUN: parseRun,
  COPY: parseCopy,
  ADD: parseAdd,
  ENV: (input) => ({ pairs: withoutFlags(input, () => parsePairs(input.args, 'ENV', input.escape)) }),
  LABEL: (input) => ({ pairs: withoutFlags(input, () => parsePairs(input.args, 'LABEL', input.escape)) }),
  ARG: parseArg,
  WORKDIR: (input) => ({ path: single(input) }),
  USER: (input) => ({ user: single(input) }),
  STOPSIGNAL: (input) => ({ signal: single(input) }),
  MAINTAINER: (input) => ({ maintainer: single(input) }),
  CMD: (input) => ({ command: withoutFlags(input, () => parseCommandLine(input.args) ?? NO_COMMAND) }),
  ENTRYPOINT: (input) => ({ command: withoutFlags(input, () => parseCommandLine(input.args) ?? NO_COMMAND) }),
  EXPOSE: (input) => ({ ports: withoutFlags(input, () => atLeastOne(input, plainWords(input.args)).sort()) }),
  VOLUME: parseVolume,
  HEALTHCHECK: parseHealthcheck,
  SHELL: parseShell,
  ONBUILD: parseOnbuild,
};

export const INSTRUCTION_NAMES = Object.keys(PARSERS) as readonly InstructionName[];

const NO_COMMAND = { form: 'exec', words: [] } as const;

/** undefined: there is no such instruction. */
export function parseInstruction(line: InstructionLine, token: Escape): Instruction | undefined {
  const parts = splitCommand(line.text, token);
  const name = INSTRUCTION_NAMES.find((each) => each === parts.name.toUpperCase());
  if (name === undefined) return undefined;
  const body = PARSERS[name]({ ...parts, escape: token, heredocs: line.heredocs, line });
  const { location, comments } = line;
  // The table gives each name its own body; the compiler cannot follow the correlation.
  return {
    name,
    location,
    comments,
    original: line.text.trim(),
    written: parts.name,
    ...body,
  } as Instruction;
}

function withoutFlags<T>(input: Input, parse: () => T): T {
  const result = parse();
  parseFlags(input.flags, {});
  return result;
}

function single(input: Input): string {
  if (input.args === '') throw invalid(`${input.name.toUpperCase()} requires exactly one argument`);
  return withoutFlags(input, () => input.args);
}

function atLeastOne<T>({ name }: Input, values: T[]): T[] {
  if (values.length === 0) throw invalid(`${name.toUpperCase()} requires at least one argument`);
  return values;
}

function parseFrom(input: Input): Body<'FROM'> {
  const [image, as, alias, ...more] = plainWords(input.args);
  const { platform } = parseFlags(input.flags, { platform: 'string' });
  const flags = platform === undefined || platform === '' ? {} : { platform };
  if (image !== undefined && as === undefined) return { image, flags };
  if (image === undefined || as?.toLowerCase() !== 'as' || alias === undefined || more.length > 0)
    throw invalid('FROM requires either one or three arguments');
  if (!/^[a-z][a-z0-9\-_.]*$/.test(alias.toLowerCase()))
    throw invalid(
      `invalid name for build stage: ${JSON.stringify(alias)}, name can't start with a number or contain symbols`,
    );
  return { image, flags, alias: alias.toLowerCase(), aliasWritten: { as, alias } };
}

function parseRun(input: Input): Body<'RUN'> {
  const { mount, network, security, device } = parseFlags(input.flags, {
    mount: 'strings',
    network: 'string',
    security: 'string',
    device: 'strings',
  });
  if (network !== undefined && !['default', 'none', 'host'].includes(network))
    throw invalid(`invalid network mode ${JSON.stringify(network)}`);
  if (security !== undefined && !['insecure', 'sandbox'].includes(security))
    throw invalid(`security ${JSON.stringify(security)} is not valid`);
  return {
    command: parseCommandLine(input.args) ?? NO_COMMAND,
    heredocs: input.heredocs,
    flags: {
      mount: mount.map(rawMount),
      device,
      ...(network === undefined ? {} : { network }),
      ...(security === undefined ? {} : { security }),
    },
  };
}

function parseCopy(input: Input): Body<'COPY'> {
  const { sources, destination } = sourcesOf(input);
  const { from, chown, chmod, link, parents, exclude } = parseFlags(input.flags, {
    from: 'string',
    chown: 'string',
    chmod: 'string',
    link: 'boolean',
    parents: 'boolean',
    exclude: 'strings',
  });
  return {
    sources,
    destination,
    flags: {
      ...(from === undefined || from === '' ? {} : { from }),
      ...(chown === undefined || chown === '' ? {} : { chown }),
      ...(chmod === undefined || chmod === '' ? {} : { chmod }),
      link: link ?? false,
      parents: parents ?? false,
      exclude,
    },
  };
}

function parseAdd(input: Input): Body<'ADD'> {
  const { sources, destination } = sourcesOf(input);
  const flags = parseFlags(input.flags, {
    chown: 'string',
    chmod: 'string',
    link: 'boolean',
    exclude: 'strings',
    checksum: 'string',
    'keep-git-dir': 'boolean',
    unpack: 'boolean',
  });
  const { chown, chmod, checksum, unpack, 'keep-git-dir': keepGitDir } = flags;
  return {
    sources,
    destination,
    flags: {
      ...(chown === undefined || chown === '' ? {} : { chown }),
      ...(chmod === undefined || chmod === '' ? {} : { chmod }),
      ...(checksum === undefined || checksum === '' ? {} : { checksum }),
      ...(keepGitDir === undefined ? {} : { keepGitDir }),
      ...(unpack === undefined ? {} : { unpack }),
      link: flags.link ?? false,
      exclude: flags.exclude,
    },
  };
}

function sourcesOf({ name, args, heredocs }: Input): { sources: Source[]; destination: string } {
  const words = parseWordList(args);
  const command = name.toUpperCase();
  if (words.length < 2)
    throw invalid(
      `${command} requires at least two arguments, but only one was provided. Destination could not be determined`,
    );
  const destination = words.at(-1) ?? '';
  if (heredocOf(destination) !== undefined)
    throw invalid(`${command} cannot accept a heredoc as a destination`);
  const sources = words.slice(0, -1).map((word): Source => {
    const start = heredocOf(word);
    if (start === undefined) return { type: 'path', path: word };
    const content = heredocs.findLast((heredoc) => heredoc.name === start.name)?.content ?? '';
    return {
      type: 'content',
      name: start.name,
      data: start.chomp ? chomp(content) : content,
      expand: start.expand,
    };
  });
  return { sources, destination };
}

function parseArg(input: Input): Body<'ARG'> {
  const args = atLeastOne(input, splitWords(input.args, input.escape)).map((word) => {
    const at = word.indexOf('=');
    if (at === 0) throw invalid('ARG names can not be blank');
    return at < 0 ? { key: word } : { key: word.slice(0, at), value: word.slice(at + 1) };
  });
  return { args };
}

function parseVolume(input: Input): Body<'VOLUME'> {
  const paths = withoutFlags(input, () => atLeastOne(input, parseWordList(input.args))).map((path) =>
    path.trim(),
  );
  if (paths.includes('')) throw invalid('VOLUME specified can not be an empty string');
  return { paths };
}

function parseShell(input: Input): Body<'SHELL'> {
  const words = input.args === '' ? [] : parseJsonWords(input.args);
  if (words === undefined) throw invalid(`SHELL requires the arguments to be in JSON form`);
  return { words: withoutFlags(input, () => atLeastOne(input, words)) };
}

function parseOnbuild(input: Input): Body<'ONBUILD'> {
  const { line, escape: token } = input;
  if (input.args === '') throw invalid('ONBUILD requires at least one argument');
  const written = line.text.replace(/^\s*onbuild\s*/i, '');
  const name = splitCommand(written, token).name.toUpperCase();
  if (name === 'ONBUILD') throw invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (name === 'MAINTAINER' || name === 'FROM') throw invalid(`${name} isn't allowed as an ONBUILD trigger`);
  const trigger = parseInstruction({ ...line, text: written }, token);
  if (trigger === undefined) throw unknownInstruction(splitCommand(written, token).name);
  const bodies = line.heredocs.map((heredoc) => `\n${heredoc.content}${heredoc.name}`);
  return { expression: written + bodies.join(''), trigger };
}

export function unknownInstruction(name: string): TinyrunError {
  return invalid(`unknown instruction: ${name}${didYouMean(name, INSTRUCTION_NAMES, false)}`);
}

function invalid(message: string): TinyrunError {
  return new TinyrunError('invalid', message);
}
