import { readFileSync } from 'node:fs';
import type { Context } from './context.ts';

/** What of Docker's config.json is about how the client shows things. */
export interface ClientSettings {
  readonly psFormat?: string;
  readonly statsFormat?: string;
}

/**
 * `$DOCKER_CONFIG/config.json`, by default in `~/.docker`. One that is damaged or missing sets nothing: whoever needs the
 * credentials in it says what is wrong with it.
 */
export function clientSettings({ env }: Pick<Context, 'env'>): ClientSettings {
  const directory = env.DOCKER_CONFIG || (env.HOME ? `${env.HOME}/.docker` : undefined);
  if (directory === undefined) return {};
  let value: Readonly<Record<string, unknown>> | null;
  try {
    value = JSON.parse(readFileSync(`${directory}/config.json`, 'utf8'));
  } catch {
    return {};
  }
  const { psFormat, statsFormat } = value ?? {};
  return {
    ...(typeof psFormat === 'string' && psFormat !== '' ? { psFormat } : {}),
    ...(typeof statsFormat === 'string' && statsFormat !== '' ? { statsFormat } : {}),
  };
}
