import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { TinyrunError } from '../errors.ts';
import type { Core } from './core.ts';

export interface ServeHow {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default: any free one. */
  readonly port?: number;
  /** An OCI layout directory; default: the store. */
  readonly layout?: string;
}

export interface Served {
  /** Such as `http://127.0.0.1:5000`. */
  readonly url: string;
  /** `host:port`, as it stands in front of an image's name. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * A registry for reading: every image that has a tag, under its repository's path without the registry's name. What is
 * pulled or tagged later is there at once.
 * @throws TinyrunError `not_found` for a directory that is no layout, `conflict` for an address in use
 */
export async function serveImages(core: Core, how: ServeHow = {}): Promise<Served> {
  const { serveLayout } = await import('../registry/server.ts');
  if (how.layout !== undefined && !existsSync(join(how.layout, 'index.json')))
    throw new TinyrunError('not_found', `Cannot serve "${how.layout}": it is no OCI image layout`);
  return serveLayout({
    layout: how.layout ?? core.paths.root,
    ...(how.host === undefined ? {} : { host: how.host }),
    ...(how.port === undefined ? {} : { port: how.port }),
  });
}
