import { TinyrunError } from '../errors.ts';
import { familiar } from './dockerfile/stages.ts';

/** `--build-context name=value`. */
export interface NamedContext {
  /** As stages compare it. */
  readonly name: string;
  readonly source:
    | { readonly type: 'image'; readonly reference: string }
    | {
        /** An OCI image layout; the tag or digest picks one image of it. */
        readonly type: 'oci-layout';
        readonly directory: string;
        readonly tag?: string;
        readonly digest?: string;
      }
    /** A directory, a repository or a tar: openNamedFiles(value). */
    | { readonly type: 'files'; readonly value: string };
}

/** @throws TinyrunError in buildx's words */
export function parseNamedContext(text: string): NamedContext {
  const at = text.indexOf('=');
  const name = text.slice(0, Math.max(at, 0));
  const value = text.slice(at + 1);
  if (at < 1 || value === '') throw invalid(`invalid context value: ${text}, expected key=value`);
  if (value === '-') throw invalid(`Cannot read the context "${name}" from standard input`);
  if (/[\s\0]/.test(name)) throw invalid(`invalid context name ${name}: invalid reference format`);
  return { name: familiar(name).toLowerCase(), source: sourceOf(value) };
}

function sourceOf(value: string): NamedContext['source'] {
  const image = after(value, 'docker-image://');
  if (image !== undefined) return { type: 'image', reference: image };
  const layout = after(value, 'oci-layout://');
  if (layout === undefined) return { type: 'files', value };
  const [, directory = '', tag, digest] =
    /^(.*?)(?::([\w][\w.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$/s.exec(layout) ?? [];
  if (directory === '') throw invalid(`invalid OCI layout ${JSON.stringify(value)}`);
  return {
    type: 'oci-layout',
    directory,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

function after(text: string, prefix: string): string | undefined {
  return text.startsWith(prefix) ? text.slice(prefix.length) : undefined;
}

function invalid(message: string): TinyrunError {
  return new TinyrunError('invalid', message);
}
