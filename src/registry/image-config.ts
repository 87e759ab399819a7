import { TinyrunError } from '../errors.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
import type { Healthcheck, HistoryEntry, ImageConfig, Manifest, ProcessDefaults } from '../oci/image-spec.ts';
import { type JsonObject, parseJsonObject, type Shape, shapeOf } from './json-shape.ts';

/** Bytes; containers/image's bound. */
export const LONGEST_CONFIG = 10 * 1024 * 1024;

/**
 * The config of an image from hostile bytes. Null counts as absent (`"Cmd": null` is what Docker writes), unknown fields
 * are left out, and every known one has its type or the image is refused.
 * @throws TinyrunError `invalid` naming the field
 * @see https://github.com/opencontainers/image-spec/blob/main/config.md#properties
 */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  const shape = shapeOf('image config');
  const raw = parseJsonObject(bytes, 'image config', LONGEST_CONFIG);
  const optional = compact({
    variant: shape.text(raw, 'variant'),
    created: shape.text(raw, 'created'),
    author: shape.text(raw, 'author'),
  });
  return {
    // Images of the first Docker versions name neither; Docker takes them for its own platform.
    architecture: shape.text(raw, 'architecture') ?? '',
    os: shape.text(raw, 'os') ?? 'linux',
    ...optional,
    config: processDefaults(raw.config ?? {}, shape),
    rootfs: { type: 'layers', diff_ids: diffIds(raw.rootfs, shape) },
    history: (shape.list(raw, 'history') ?? []).map((entry, index) => historyEntry(entry, index, shape)),
  };
}

/**
 * That each layer of the manifest has its diffID in the config.
 * @throws TinyrunError `invalid` with Docker's sentence
 */
export function requireSameLayers(manifest: Manifest, config: ImageConfig): void {
  const [layers, diffs] = [manifest.layers.length, config.rootfs.diff_ids.length];
  if (layers === diffs) return;
  throw new TinyrunError(
    'invalid',
    `number of layers and diffIDs don't match: the manifest has ${layers}, the image config ${diffs}`,
  );
}

function diffIds(value: unknown, shape: Shape): readonly Digest[] {
  const rootfs = shape.object(value, 'rootfs');
  const type = shape.text(rootfs, 'type');
  if (type !== undefined && type !== 'layers') throw shape.fail('rootfs.type', '"layers"');
  return (shape.list(rootfs, 'diff_ids') ?? []).map((one, index) =>
    parseDigest(one, `rootfs.diff_ids[${index}]`),
  );
}

function processDefaults(value: unknown, document: Shape): ProcessDefaults {
  const raw = document.object(value, 'config');
  const shape = document.within('config');
  return compact({
    User: shape.text(raw, 'User'),
    ExposedPorts: shape.set(raw, 'ExposedPorts'),
    Env: shape.texts(raw, 'Env'),
    // Docker before 1.10 wrote a string where there was one word.
    Entrypoint: words(raw, 'Entrypoint', shape),
    Cmd: words(raw, 'Cmd', shape),
    Volumes: shape.set(raw, 'Volumes'),
    WorkingDir: shape.text(raw, 'WorkingDir'),
    Labels: shape.map(raw, 'Labels'),
    StopSignal: shape.text(raw, 'StopSignal'),
    Shell: shape.texts(raw, 'Shell'),
    Healthcheck: healthcheck(raw, shape),
    ArgsEscaped: shape.flag(raw, 'ArgsEscaped'),
    OnBuild: shape.texts(raw, 'OnBuild'),
  });
}

/** @see https://github.com/moby/docker-image-spec/blob/main/spec.md strslice: a string stands for a list of one */
function words(raw: JsonObject, field: string, shape: Shape): readonly string[] | undefined {
  const value = raw[field];
  return typeof value === 'string' ? [value] : shape.texts(raw, field);
}

function healthcheck(raw: JsonObject, config: Shape): Healthcheck | undefined {
  if (raw.Healthcheck === undefined || raw.Healthcheck === null) return undefined;
  const from = config.object(raw.Healthcheck, 'Healthcheck');
  const shape = config.within('Healthcheck');
  return compact({
    Test: shape.texts(from, 'Test'),
    Interval: shape.number(from, 'Interval'),
    Timeout: shape.number(from, 'Timeout'),
    StartPeriod: shape.number(from, 'StartPeriod'),
    StartInterval: shape.number(from, 'StartInterval'),
    Retries: shape.number(from, 'Retries'),
  });
}

function historyEntry(value: unknown, index: number, document: Shape): HistoryEntry {
  const raw = document.object(value, `history[${index}]`);
  const shape = document.within(`history[${index}]`);
  return compact({
    created: shape.text(raw, 'created'),
    created_by: shape.text(raw, 'created_by'),
    author: shape.text(raw, 'author'),
    comment: shape.text(raw, 'comment'),
    empty_layer: shape.flag(raw, 'empty_layer'),
  });
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without the fields that are undefined: `exactOptionalPropertyTypes` tells absent from undefined, and so does JSON. */
function compact<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
}
