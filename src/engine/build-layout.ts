import { resolve } from 'node:path';
import type { NamedContext } from '../build/named-context.ts';
import { TinyrunError } from '../errors.ts';
import type { BuildRequest } from './build.ts';
import type { Closable } from './build-sources.ts';
import type { Core } from './core.ts';
import { temporaryImage } from './temporary-image.ts';

type Layout = Extract<NamedContext['source'], { type: 'oci-layout' }>;

/**
 * An image of an OCI layout as a named context: in the store while the build lasts.
 * @param open what is closed in the end
 */
export async function layoutContext(
  core: Core,
  { cwd, signal }: Pick<BuildRequest, 'cwd' | 'signal'>,
  { directory, tag, digest }: Layout,
  open: Closable[],
): Promise<{ readonly type: 'image'; readonly reference: string }> {
  if (digest !== undefined)
    throw new TinyrunError(
      'unsupported',
      `Cannot use the image "${digest}" of "${directory}": name it by its tag`,
    );
  const { copyImage } = await import('./copy.ts');
  const temporary = await temporaryImage(core);
  open.push({ close: () => temporary.release() });
  const from = `oci:${resolve(cwd, directory)}${tag === undefined ? '' : `:${tag}`}`;
  await copyImage(core, from, `store:${temporary.name}`, { signal });
  return { type: 'image', reference: temporary.name };
}
