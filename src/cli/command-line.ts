import type { OptionSpec } from './command.ts';

/**
 * A command line without some of its flags, as it was typed otherwise.
 * @param words behind the command's name: flags, then operands that stay as they are
 * @param options all that the command knows
 * @param dropped long names
 */
export function withoutFlags(
  words: readonly string[],
  options: readonly OptionSpec[],
  dropped: ReadonlySet<string>,
): string[] {
  const kept: string[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (word === '--' || word === '-' || !word.startsWith('-')) return [...kept, ...words.slice(at)];
    const { left, takesNext, isDropped } = word.startsWith('--')
      ? longFlag(word, options, dropped)
      : shortFlags(word, options, dropped);
    if (left !== '') kept.push(left);
    if (!takesNext) continue;
    at += 1;
    if (!isDropped) kept.push(words[at] ?? '');
  }
  return kept;
}

interface Flag {
  /** What stays of the word; empty: nothing. */
  readonly left: string;
  /** Its value is the next word. */
  readonly takesNext: boolean;
  readonly isDropped: boolean;
}

function longFlag(word: string, options: readonly OptionSpec[], dropped: ReadonlySet<string>): Flag {
  const [name = ''] = word.slice(2).split('=');
  const option = options.find(({ long }) => long === name);
  const isDropped = dropped.has(name);
  const takesNext = option !== undefined && option.type !== 'bool' && !word.includes('=');
  return { left: isDropped ? '' : word, takesNext, isDropped };
}

/** `-dit`, `-p80:80`, `-p 80:80`. */
function shortFlags(word: string, options: readonly OptionSpec[], dropped: ReadonlySet<string>): Flag {
  let left = '';
  for (let at = 1; at < word.length; at += 1) {
    const option = options.find(({ short }) => short === word[at]);
    const isDropped = option !== undefined && dropped.has(option.long);
    const isBool = option === undefined || option.type === 'bool';
    if (isBool && word[at + 1] !== '=') {
      if (!isDropped) left += word[at];
      continue;
    }
    // The rest of the word is its value.
    const rest = isDropped ? '' : word.slice(at);
    const text = `${left}${rest}`;
    return { left: text === '' ? '' : `-${text}`, takesNext: !isBool && at === word.length - 1, isDropped };
  }
  return { left: left === '' ? '' : `-${left}`, takesNext: false, isDropped: false };
}
