import type { Engine, LayerForecast, PullForecast } from '../engine/index.ts';
import { familiarName, parseReference } from '../engine/reference.ts';
import { TinyrunError } from '../errors.ts';
import type { Call } from './command.ts';
import { forEach } from './for-each.ts';
import { patienceOf } from './retry-flags.ts';
import { humanSize } from './size.ts';

/** The exit code for scripts: there is something to download. */
const NEWER = 10;

/** `pull --dry-run`. @returns 0 where every image is up to date, 10 where one is not, 1 after an error */
export async function showForecasts({ context, parsed }: Call, engine: Engine): Promise<number> {
  const platform = parsed.string('platform') ?? context.env.DOCKER_DEFAULT_PLATFORM;
  const how = {
    ...patienceOf(parsed),
    ...(platform === undefined || platform === '' ? {} : { platform }),
    signal: context.signal,
  };
  let isNewer = false;
  const names = parsed.bool('all-tags') ? await tagged(engine, parsed.operands, how.signal) : parsed.operands;
  const code = await forEach(context, names, async (name) => {
    const forecast = await engine.forecast(name, how);
    if (forecast.status !== 'up-to-date') isNewer = true;
    context.stdout.write(linesOf(forecast, parsed.bool('quiet')).join(''));
  });
  return code === 0 && isNewer ? NEWER : code;
}

async function tagged(engine: Engine, names: readonly string[], signal: AbortSignal): Promise<string[]> {
  const all: string[] = [];
  for (const name of names) {
    if (parseReference(name).tag !== undefined)
      throw new TinyrunError('invalid', "tag can't be used with --all-tags/-a");
    for (const tag of await engine.remoteTags(name, { signal })) all.push(`${name}:${tag}`);
  }
  return all;
}

function linesOf({ reference, digest, status, layers }: PullForecast, quiet: boolean): string[] {
  const name = familiarName(reference);
  const left = layers.reduce((sum, { size, present }) => sum + size - present, 0);
  const missing = layers.filter((layer) => layer.present < layer.size).length;
  const last = {
    'up-to-date': `Image is up to date for ${name}`,
    newer: `Newer image available for ${name}: ${humanSize(left)} to download, ${missing} of ${layers.length} layers`,
    missing: `Image is not here: ${name}: ${humanSize(left)} to download, ${missing} of ${layers.length} layers`,
  }[status];
  if (quiet) return [`${last}\n`];
  return [...layers.map(layerLine), `Digest: ${digest}\n`, `Status: ${last}\n`];
}

function layerLine({ digest, size, present, isUnpacked }: LayerForecast): string {
  const id = digest.slice('sha256:'.length, 'sha256:'.length + 12);
  if (present === size) return `${id}: ${isUnpacked ? 'Already exists' : 'Would be unpacked'}\n`;
  const rest = present > 0 ? ` of ${humanSize(size)}, the rest is here` : '';
  return `${id}: Would download ${humanSize(size - present)}${rest}\n`;
}
