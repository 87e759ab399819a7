import { TinyrunError } from '../errors.ts';
import type { Context } from './context.ts';
import { renderTable } from './table.ts';
import { compileTemplate, type Template, TemplateError } from './template.ts';
import { goJson } from './template-functions.ts';

/** Prints one value by `--format`: `json` or a Go template. @throws TemplateError, reported by the program */
export function print(context: Context, value: unknown, format: string): number {
  context.stdout.write(`${templateOf(format)(value)}\n`);
  return 0;
}

/** `json` stands for `{{json .}}`; escapes such as `\t` mean what they say, as in Docker. */
export function templateOf(format: string): Template {
  if (format === 'json') return goJson;
  const template = said(() => compileTemplate(withEscapes(format)));
  return (data) => said(() => template(data));
}

function said<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof TemplateError)
      throw new TinyrunError('invalid', `template parsing error: ${error.message}`);
    throw error;
  }
}

export interface Columns<Row> {
  /** Heading of each field, by the field's name. */
  readonly headings: Readonly<Record<string, unknown>>;
  /** The template of the table where no format is given. */
  readonly table: string;
  readonly fields: (row: Row) => Readonly<Record<string, unknown>>;
}

/** Rows by `--format`: empty or `table` is the usual table, `table TEMPLATE` another, else a template for each row. */
export function formatRows<Row>(
  rows: readonly Row[],
  format: string | undefined,
  columns: Columns<Row>,
): string {
  const wanted =
    format === undefined || format === '' || format === 'table' ? `table ${columns.table}` : format;
  const values = rows.map(columns.fields);
  const isTable = /^table\s/.test(wanted);
  const template = templateOf(isTable ? wanted.slice('table '.length) : wanted);
  if (!isTable) return values.map((value) => `${template(value)}\n`).join('');
  const lines = [columns.headings, ...values].map((value) => template(value).split('\t'));
  return renderTable(lines);
}

function withEscapes(format: string): string {
  return format.replace(/\\([tnr\\])/g, (_, letter: string) => ESCAPES[letter] ?? letter);
}

const ESCAPES: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', '\\': '\\' };
