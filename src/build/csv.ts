import { TinyrunError } from '../errors.ts';

/**
 * One line of CSV: a field in double quotes may hold commas, and `""` in it is one quote.
 * @param message of the error for anything else
 */
export function splitFields(line: string, message: string): string[] {
  const fields: string[] = [];
  const grammar = /\s*(?:"((?:[^"]|"")*)"|([^,"]*))(,|$)/y;
  for (;;) {
    const match = grammar.exec(line);
    if (match === null) throw new TinyrunError('invalid', message);
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '');
    if (match[3] === '') return fields;
  }
}
