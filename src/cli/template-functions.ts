import { TemplateError } from './template-parse.ts';

/** The functions a template may call: Go's own and those that Docker adds. A piped value is the last argument. */
export const FUNCTIONS: Readonly<Record<string, (args: readonly unknown[]) => unknown>> = {
  json: ([value]) => goJson(value),
  join: ([list, separator]) => (Array.isArray(list) ? list.map(printed).join(text(separator)) : ''),
  split: ([value, separator]) => text(value).split(text(separator)),
  title: ([value]) =>
    text(value).replace(
      /(^|\s)(\p{L})/gu,
      (_, before: string, letter: string) => before + letter.toUpperCase(),
    ),
  lower: ([value]) => text(value).toLowerCase(),
  upper: ([value]) => text(value).toUpperCase(),
  pad: ([value, before, after]) =>
    text(value) === '' ? '' : ' '.repeat(count(before)) + text(value) + ' '.repeat(count(after)),
  truncate: ([value, length]) => [...text(value)].slice(0, count(length)).join(''),
  print: (args) => args.map(printed).join(' '),
  println: (args) => `${args.map(printed).join(' ')}\n`,
  printf: ([format, ...args]) => formatted(text(format), args),
  len: ([value]) => {
    if (typeof value === 'string') return Buffer.byteLength(value);
    if (Array.isArray(value)) return value.length;
    if (typeof value === 'object' && value !== null) return Object.keys(value).length;
    throw new TemplateError('error calling len: len of nil pointer');
  },
  index: ([value, ...keys]) => keys.reduce(indexed, value),
  slice: ([value, from, to]) => {
    const end = to === undefined ? undefined : count(to);
    return Array.isArray(value)
      ? value.slice(count(from ?? 0), end)
      : text(value).slice(count(from ?? 0), end);
  },
  and: (args) => args.find((value) => !isTrue(value)) ?? args.at(-1),
  or: (args) => args.find(isTrue) ?? args.at(-1),
  not: ([value]) => !isTrue(value),
  eq: ([first, ...others]) => others.some((other) => same(first, other)),
  ne: ([a, b]) => !same(a, b),
  lt: ([a, b]) => compare(a, b) < 0,
  le: ([a, b]) => compare(a, b) <= 0,
  gt: ([a, b]) => compare(a, b) > 0,
  ge: ([a, b]) => compare(a, b) >= 0,
  html: ([value]) => text(value).replace(/[<>&'"]/g, (one) => `&#${one.charCodeAt(0)};`),
  urlquery: ([value]) => encodeURIComponent(text(value)),
};

/** Go's truth: not false, zero, empty or nil. */
export function isTrue(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === 0 || value === '') return false;
  if (Array.isArray(value)) return value.length > 0;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}

/** A value as Go's fmt prints it: `[a b]`, `map[k:v]`, `<no value>`. */
export function printed(value: unknown): string {
  if (value === null || value === undefined) return '<no value>';
  if (Array.isArray(value)) return `[${value.map(nested).join(' ')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${entries.map(([key, item]) => `${key}:${nested(item)}`).join(' ')}]`;
  }
  return String(value);
}

/** JSON as Go's encoder with its HTML escapes off, in one line. */
export function goJson(value: unknown): string {
  return JSON.stringify(value ?? null);
}

function nested(value: unknown): string {
  return value === null || value === undefined ? '<nil>' : printed(value);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : printed(value);
}

function count(value: unknown): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 0)
    throw new TemplateError(`expected integer; found ${printed(value)}`);
  return number;
}

function indexed(value: unknown, key: unknown): unknown {
  if (Array.isArray(value)) {
    const at = count(key);
    if (at >= value.length) throw new TemplateError(`error calling index: index out of range: ${at}`);
    return value[at];
  }
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).find(([name]) => name === text(key))?.[1];
  }
  throw new TemplateError('error calling index: index of untyped nil');
}

function same(a: unknown, b: unknown): boolean {
  return a === b || ((a === null || a === undefined) && (b === null || b === undefined));
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : Number(a > b);
  throw new TemplateError('incompatible types for comparison');
}

/** The verbs that people use: %s %v %d %q %t %f %.2f %5d %-10s %x %%. */
function formatted(format: string, args: readonly unknown[]): string {
  let at = 0;
  return format.replace(/%(-?)(0?)([0-9]*)(?:\.([0-9]+))?([a-zA-Z%])/g, (...match) => {
    const [, left, zero, size, precision, verb] = match.map((part) => (typeof part === 'string' ? part : ''));
    if (verb === '%') return '%';
    const value = args[at];
    at += 1;
    let shown = printed(value);
    if (verb === 'q') shown = JSON.stringify(text(value));
    if (verb === 'x') shown = Number(value).toString(16);
    if (verb === 'f') shown = Number(value).toFixed(precision === '' ? 6 : Number(precision));
    if (verb === 's' && precision !== '') shown = shown.slice(0, Number(precision));
    const wide = Number(size);
    if (left === '-') return shown.padEnd(wide);
    return shown.padStart(wide, zero === '0' ? '0' : ' ');
  });
}
