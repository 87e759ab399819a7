import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { CommandOptions, Outcome, Sandbox } from './sandbox.ts';

/** Files of a context: content, or `{ link: target }`. */
export type Files = Readonly<Record<string, string | Uint8Array | { readonly link: string }>>;

export interface Building {
  /** A new context directory; `Dockerfile` is one of the files. */
  context(files: Files): string;
  /** `build` in a new context. @param flags before the context */
  build(files: Files, flags?: readonly string[], options?: CommandOptions): Promise<Outcome>;
  /** What a script says in a container of an image. */
  inside(image: string, script: string): Promise<string>;
}

export function building(box: Sandbox): Building {
  const context = (files: Files): string => {
    const directory = mkdtempSync(join(box.directory, 'context-'));
    for (const [name, content] of Object.entries(files)) {
      const path = join(directory, name);
      mkdirSync(dirname(path), { recursive: true });
      rmSync(path, { force: true });
      if (typeof content === 'string' || content instanceof Uint8Array) writeFileSync(path, content);
      else symlinkSync(content.link, path);
    }
    return directory;
  };
  return {
    context,
    build: (files, flags = [], options = {}) =>
      box.run(['build', '--progress', 'plain', ...flags, context(files)], options),
    inside: (image, script) => box.ok(['run', '--rm', '--network', 'none', image, 'sh', '-c', script]),
  };
}
