import { TinyrunError } from '../errors.ts';
import type { ContainerRecord } from './containers.ts';
import { ATTRIBUTE_OPTIONS } from './log-options.ts';

/** Bytes: see native/log.c. */
const LONGEST_ATTRIBUTES = 2048;

/** For the launch plan. @throws TinyrunError `invalid` where it is too much */
function bounded(text: string, { name }: ContainerRecord): string {
  if (Buffer.byteLength(text) <= LONGEST_ATTRIBUTES) return text;
  throw new TinyrunError(
    'invalid',
    `Cannot log for "${name}": labels, variables and tag of its entries have more than ${LONGEST_ATTRIBUTES} bytes`,
  );
}

/** @see https://docs.docker.com/engine/logging/drivers/journald/ */
export function journalFields(record: ContainerRecord): string {
  const { id, name, options } = record;
  const tag = tagOf(record, options.logOptions.tag ?? '{{.ID}}');
  const { tag: _, ...extra } = attributesOf(record);
  const fields = {
    CONTAINER_ID: id.slice(0, 12),
    CONTAINER_ID_FULL: id,
    CONTAINER_NAME: name,
    CONTAINER_TAG: tag,
    IMAGE_NAME: options.image,
    SYSLOG_IDENTIFIER: tag,
    ...Object.fromEntries(Object.entries(extra).map(([key, value]) => [fieldName(key), value])),
  };
  const lines = Object.entries(fields).map(([key, value]) => `${key}=${value.replaceAll('\n', ' ')}\n`);
  return bounded(lines.join(''), record);
}

/** A name that journald takes, as Docker makes it. */
function fieldName(key: string): string {
  return key
    .toUpperCase()
    .replace(/[^A-Z0-9]/g, '_')
    .replace(/^_+/, '');
}

/** Docker's ExtraAttributes: chosen labels and variables of the container, and the tag. */
function attributesOf({ id, name, image, options }: ContainerRecord): Record<string, string> {
  const { labels, env, tag, ...rest } = options.logOptions;
  const allLabels = { ...image.config.Labels, ...options.labels };
  const allEnv = Object.fromEntries(
    [...(image.config.Env ?? []), ...options.env].map((entry) => {
      const equals = entry.indexOf('=');
      return [entry.slice(0, equals), entry.slice(equals + 1)];
    }),
  );
  return {
    ...chosen(allLabels, labels, rest['labels-regex']),
    ...chosen(allEnv, env, rest['env-regex']),
    ...(tag === undefined || tag === '' ? {} : { tag: tagOf({ id, name, image, options }, tag) }),
  };
}

function chosen(
  all: Readonly<Record<string, string>>,
  names: string | undefined,
  pattern: string | undefined,
): Record<string, string> {
  const wanted = new Set((names ?? '').split(','));
  const matches = pattern === undefined || pattern === '' ? undefined : new RegExp(pattern);
  return Object.fromEntries(
    Object.entries(all).filter(([key]) => wanted.has(key) || matches?.test(key) === true),
  );
}

/** Docker's fields of a tag; what is none stays as it is. */
function tagOf(
  { id, name, image, options }: Pick<ContainerRecord, 'id' | 'name' | 'image' | 'options'>,
  template: string,
): string {
  const fields: Readonly<Record<string, string>> = {
    ID: id.slice(0, 12),
    FullID: id,
    Name: name,
    ImageID: image.id.slice('sha256:'.length, 'sha256:'.length + 12),
    ImageFullID: image.id,
    ImageName: options.image,
    DaemonName: 'tinyrun',
  };
  return template.replace(/\{\{\s*\.(\w+)\s*\}\}/g, (text, field: string) => fields[field] ?? text);
}

/** The JSON object of every entry of json-file; undefined without one. */
export function entryAttributes(record: ContainerRecord): string | undefined {
  if (!Object.keys(record.options.logOptions).some((key) => ATTRIBUTE_OPTIONS.has(key))) return undefined;
  const attributes = attributesOf(record);
  return Object.keys(attributes).length === 0 ? undefined : bounded(JSON.stringify(attributes), record);
}
