import { isUtf8 } from 'node:buffer';
import { TinyrunError } from '../errors.ts';
import { printable } from './printable.ts';

/** A JSON object of unknown content. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Typed reads from JSON that a stranger wrote. Every method names the field in its error. `null` counts as absent:
 * Go programs write it for an empty list or map, so real Docker images are full of it.
 */
export interface Shape {
  /** The same reads, whose errors name `<field>.<what was read>`. */
  within(field: string): Shape;
  fail(field: string, expected: string): TinyrunError;
  object(value: unknown, field: string): JsonObject;
  text(from: JsonObject, field: string): string | undefined;
  number(from: JsonObject, field: string): number | undefined;
  flag(from: JsonObject, field: string): boolean | undefined;
  texts(from: JsonObject, field: string): readonly string[] | undefined;
  list(from: JsonObject, field: string): readonly unknown[] | undefined;
  map(from: JsonObject, field: string): Readonly<Record<string, string>> | undefined;
  /** A JSON object used as a set: `{"80/tcp": {}}`. */
  set(from: JsonObject, field: string): Readonly<Record<string, object>> | undefined;
}

/**
 * @param document what is read, for the messages: `manifest`, `image config`
 * @param prefix of every field that the messages name
 */
export function shapeOf(document: string, prefix = ''): Shape {
  const fail = (field: string, expected: string): TinyrunError =>
    new TinyrunError(
      'invalid',
      `Cannot read ${document}: "${printable(prefix + field, 80)}" is not ${expected}`,
    );
  function optional<T>(expected: string, test: (value: unknown) => value is T) {
    return (from: JsonObject, field: string): T | undefined => {
      const value = own(from, field);
      if (value === undefined) return undefined;
      if (!test(value)) throw fail(field, expected);
      return value;
    };
  }
  const entries = <T>(expected: string, test: (value: unknown) => value is T) => {
    return (from: JsonObject, field: string): Readonly<Record<string, T>> | undefined => {
      const value = own(from, field);
      if (value === undefined) return undefined;
      if (!isObject(value)) throw fail(field, expected);
      // fromEntries defines properties, so a key "__proto__" stays data.
      return Object.fromEntries(
        Object.entries(value).map(([key, one]) => {
          if (!test(one)) throw fail(`${field}.${key}`, expected);
          return [key, one] as const;
        }),
      );
    };
  };
  return {
    within: (field) => shapeOf(document, `${prefix}${field}.`),
    fail,
    object(value, field) {
      if (!isObject(value)) throw fail(field, 'an object');
      return value;
    },
    text: optional('a string', isText),
    number: optional('a number', (value): value is number => Number.isSafeInteger(value)),
    flag: optional('true or false', (value): value is boolean => typeof value === 'boolean'),
    texts: optional(
      'a list of strings',
      (value): value is readonly string[] => Array.isArray(value) && value.every(isText),
    ),
    list: optional('a list', (value): value is readonly unknown[] => Array.isArray(value)),
    map: entries('a string', isText),
    set: (from, field) => {
      const value = own(from, field);
      if (value === undefined) return undefined;
      if (!isObject(value)) throw fail(field, 'an object');
      return Object.fromEntries(Object.keys(value).map((key) => [key, {}]));
    },
  };
}

/**
 * Bytes as a JSON object.
 * @throws TinyrunError `invalid` beyond `longest` bytes, for bytes that are not UTF-8, not JSON, or not an object
 */
export function parseJsonObject(bytes: Uint8Array, document: string, longest: number): JsonObject {
  if (bytes.length > longest) {
    throw new TinyrunError(
      'invalid',
      `Cannot read ${document}: it has ${bytes.length} bytes, expected ${longest} at most`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(decode(bytes));
  } catch {
    // The parser's own message quotes the input, which is of no use and may be hostile.
    throw new TinyrunError('invalid', `Cannot read ${document}: it is not valid JSON`);
  }
  if (isObject(value)) return value;
  throw new TinyrunError('invalid', `Cannot read ${document}: it is not a JSON object`);
}

/** As `new TextDecoder('utf-8', { fatal: true })`, which takes a start 0.3 ms to make. */
function decode(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new Error('not UTF-8');
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

/** Only the object's own property: `constructor` is not a field of every document. Null counts as absent. */
function own(from: JsonObject, field: string): unknown {
  return Object.hasOwn(from, field) ? (from[field] ?? undefined) : undefined;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
