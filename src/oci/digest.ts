import { TinyrunError } from '../errors.ts';

declare const brand: unique symbol;

/** A content digest `sha256:<64 hex>`, checked once at the edge: it is safe in a path after that (CVE-2024-3727). */
export type Digest = string & { readonly [brand]: 'Digest' };

const FORM = /^sha256:[a-f0-9]{64}$/;

/** True where `text` is a digest that tinyrun can verify. */
export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && FORM.test(text);
}

/**
 * A string from outside as a digest.
 * @throws TinyrunError `invalid` for anything but `sha256:` and 64 lower-case hex digits; sha512 is named as unsupported.
 * @see https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
 */
export function parseDigest(text: unknown, what = 'digest'): Digest {
  if (isDigest(text)) return text;
  if (typeof text === 'string' && /^sha(384|512):[a-f0-9]+$/.test(text)) {
    throw new TinyrunError(
      'unsupported',
      `Cannot use ${what} "${text.slice(0, 80)}": only sha256 is supported`,
    );
  }
  const shown =
    typeof text === 'string' ? `"${text.slice(0, 80)}"` : String(JSON.stringify(text)).slice(0, 80);
  throw new TinyrunError('invalid', `Cannot use ${what} ${shown}: expected "sha256:" and 64 hex digits`);
}

/** The 64 hex digits. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

/** The 12 hex digits that people read. */
export function shortId(digest: Digest): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12);
}
