import { TinyrunError } from '../../errors.ts';
import { trimPrefix, trimSuffix } from './shell-pattern.ts';

/** `${name-word}` and its like, read and expanded. */
export interface Modified {
  readonly name: string;
  /** One of `-`, `+`, `?`, `#`, `%`. */
  readonly modifier: string;
  /** There was a colon before it. */
  readonly emptyIsUnset: boolean;
  /** Begins with the modifier itself for `##` and `%%`. */
  readonly word: string;
  readonly value: string | undefined;
}

/** @throws TinyrunError of `?` */
export function applyModifier({ name, modifier, emptyIsUnset, word, value }: Modified): string {
  const missing = value === undefined || (emptyIsUnset && value === '');
  switch (modifier) {
    case '-':
      return missing ? word : value;
    case '+':
      return missing ? '' : word;
    case '?': {
      if (!missing) return value;
      const state = value === undefined ? 'unset' : 'empty';
      throw new TinyrunError('invalid', `${name}: ${word === '' ? `is not allowed to be ${state}` : word}`);
    }
    default: {
      const greedy = word.startsWith(modifier);
      const trim = modifier === '%' ? trimSuffix : trimPrefix;
      return trim(greedy ? word.slice(1) : word, value ?? '', greedy);
    }
  }
}
