import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathsOf } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import type { RegistryServerOptions } from '../registry/server/server.ts';
import type { Shelf } from '../registry/server/shelf.ts';
import type { Core } from './core.ts';
import { usesOf } from './images.ts';

export interface ServeHow {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default: any free one. */
  readonly port?: number;
  /** An OCI layout directory; default: the store. With `writable` it is made where it is missing. */
  readonly layout?: string;
  /** Clients may push and remove. */
  readonly writable?: boolean;
  /** Files with a PEM certificate (chain) and its key. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** A file of users with bcrypt passwords; without it everybody is welcome. */
  readonly htpasswd?: string;
  /** Told what went wrong here, of which clients learn only that it did. */
  readonly onError?: (error: unknown) => void;
}

export interface Served {
  /** Such as `http://127.0.0.1:5000`. */
  readonly url: string;
  /** `host:port`, as it stands in front of an image's name. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * A registry: every image that has a tag, under its repository's path without the registry's name. What is pulled or
 * tagged later is there at once. What clients push is named `localhost/<repository>` here.
 * @throws TinyrunError `not_found` for a directory that is no layout, `conflict` for an address in use
 */
export async function serveImages(core: Core, how: ServeHow = {}): Promise<Served> {
  const { serveShelf } = await import('../registry/server/server.ts');
  const isLayout = how.layout === undefined || existsSync(join(how.layout, 'index.json'));
  if (!isLayout && (how.writable !== true || existsSync(how.layout ?? '')))
    throw new TinyrunError('not_found', `Cannot serve "${how.layout}": it is no OCI image layout`);
  const guard =
    how.htpasswd === undefined
      ? undefined
      : (await import('../registry/server/htpasswd.ts')).htpasswdGuard(how.htpasswd);
  const tls = how.tls === undefined ? undefined : { cert: readPem(how.tls.cert), key: readPem(how.tls.key) };
  const shelf = await shelfFor(core, how);
  const options: RegistryServerOptions = {
    shelf,
    ...(how.host === undefined ? {} : { host: how.host }),
    ...(how.port === undefined ? {} : { port: how.port }),
    ...(tls === undefined ? {} : { tls }),
    ...(guard === undefined ? {} : { guard }),
    ...(how.onError === undefined ? {} : { onError: how.onError }),
  };
  const server = await serveShelf(options);
  return {
    ...server,
    async close() {
      await server.close();
      await shelf.writer?.close();
    },
  };
}

async function shelfFor(core: Core, { layout, writable }: ServeHow): Promise<Shelf> {
  if (writable !== true) {
    const { layoutShelf } = await import('../registry/server/layout-shelf.ts');
    return layoutShelf(layout ?? core.paths.root);
  }
  const { writableShelf } = await import('../image/shelf.ts');
  const store = await core.store();
  if (layout !== undefined) {
    const paths = pathsOf({ root: layout, runRoot: core.paths.runRoot });
    const none = (): [] => [];
    return writableShelf({ paths, host: store.host, pushedOnly: false, inUse: none, onRemoved: () => {} });
  }
  const inUse = await usesOf(core);
  // A collection that cannot be now is made by the next removal.
  const onRemoved = (): void => void store.collect(inUse).catch(() => {});
  return writableShelf({ paths: core.paths, host: store.host, pushedOnly: true, inUse, onRemoved });
}

function readPem(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    throw new TinyrunError('not_found', `open ${path}: no such file or directory`);
  }
}
