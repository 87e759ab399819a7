import { TinyrunError } from '../../errors.ts';
import type { Escape, Heredoc } from './ast.ts';
import { expandWith } from './expand.ts';
import { parseJsonWords, splitCommand } from './words.ts';

/** One `<<EOF` as it stands in a line; the content is in the lines below. */
export type HeredocStart = Omit<Heredoc, 'content'>;

const WITH_HEREDOCS = ['ADD', 'COPY', 'RUN'];
const unset = (): undefined => undefined;

/** The heredocs that a line announces, in their order. Only ADD, COPY and RUN (also as ONBUILD) have some, in shell form. */
export function heredocsOf(line: string, token: Escape): HeredocStart[] {
  if (!line.includes('<<')) return [];
  let { name, args } = splitCommand(line, token);
  if (name.toUpperCase() === 'ONBUILD') ({ name, args } = splitCommand(args, token));
  if (!WITH_HEREDOCS.includes(name.toUpperCase()) || parseJsonWords(args) !== undefined) return [];
  const found: HeredocStart[] = [];
  for (const word of wordsOf(line)) {
    const heredoc = heredocOf(word);
    if (heredoc !== undefined) found.push(heredoc);
  }
  return found;
}

/** A line whose quotes do not match announces nothing: it is the shell that will say so. */
function wordsOf(line: string): readonly string[] {
  try {
    return expandWith(line, {
      lookup: unset,
      escape: '\\',
      rawQuotes: true,
      rawEscapes: true,
      keepUnset: true,
    }).words;
  } catch (error) {
    if (error instanceof TinyrunError) return [];
    throw error;
  }
}

/** `<<EOF`, `<<-EOF`, `<<"EOF"`, `3<<EOF`; undefined for any other word. */
export function heredocOf(word: string): HeredocStart | undefined {
  const [, , dash, rest = ''] = /^(\d*)<<(-?)\s*([^<]*)$/.exec(word) ?? [];
  if (rest === '') return undefined;
  const options = { lookup: unset, escape: '\\', keepUnset: true } as const;
  const { words } = expandWith(rest, options);
  const [name] = words;
  if (name === undefined || words.length !== 1) return undefined;
  const [raw = ''] = expandWith(rest, { ...options, rawQuotes: true }).words;
  // A name of which any part was quoted: its content is taken as it is.
  return { name, expand: quotes(name) === quotes(raw), chomp: dash === '-' };
}

function quotes(text: string): number {
  return text.match(/['"]/g)?.length ?? 0;
}

/** Cuts the leading tabs of each line: what `<<-` means. */
export function chomp(content: string): string {
  return content.replace(/^\t+/gm, '');
}
