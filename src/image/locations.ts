import { TinyrunError } from '../errors.ts';
import { parseReference, type Reference, withDefaultTag } from '../registry/reference.ts';

/** Where `copy` reads an image from, or writes it to. */
export type Location =
  | { readonly kind: 'registry'; readonly text: string; readonly reference: Reference }
  | { readonly kind: 'layout'; readonly path: string; readonly tag?: string }
  | { readonly kind: 'oci-archive'; readonly path: string; readonly tag?: string }
  | { readonly kind: 'docker-archive'; readonly path: string; readonly name?: Reference }
  /** An image of the store: a name, or an id. */
  | { readonly kind: 'store'; readonly text: string };

const TRANSPORT = /^(docker:\/\/|oci:|oci-archive:|docker-archive:|store:)(.*)$/s;
const OTHERS = /^(dir|docker-daemon|containers-storage|ostree|sif|tarball|atomic):/;

/**
 * `docker://NAME`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:NAME]`, `store:NAME`, or a name in the
 * store alone.
 * @throws TinyrunError `invalid`
 * @see https://github.com/containers/image/blob/main/docs/containers-transports.5.md
 */
export function parseLocation(text: string): Location {
  const [, transport, rest = ''] = TRANSPORT.exec(text) ?? [];
  if (transport === undefined) {
    const other = OTHERS.exec(text)?.[1];
    if (other === undefined) return { kind: 'store', text };
    throw new TinyrunError('unsupported', `Cannot copy "${text}": the transport "${other}" is not known`, {
      hint: 'There are docker://, oci:, oci-archive:, docker-archive: and store:',
    });
  }
  if (transport === 'docker://') {
    return { kind: 'registry', text: rest, reference: withDefaultTag(parseReference(rest)) };
  }
  if (transport === 'store:') return { kind: 'store', text: rest };
  const colon = rest.indexOf(':');
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const name = colon < 0 ? '' : rest.slice(colon + 1);
  if (path === '') throw new TinyrunError('invalid', `Cannot copy "${text}": there is no path in it`);
  if (transport === 'docker-archive:') {
    return {
      kind: 'docker-archive',
      path,
      ...(name === '' ? {} : { name: withDefaultTag(parseReference(name)) }),
    };
  }
  return {
    kind: transport === 'oci:' ? 'layout' : 'oci-archive',
    path,
    ...(name === '' ? {} : { tag: name }),
  };
}
