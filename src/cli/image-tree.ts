import type { Engine, ImageTree, PlatformImage } from '../engine/index.ts';
import { familiarName, parseReference } from '../engine/reference.ts';
import { TinyrunError } from '../errors.ts';
import type { Context } from './context.ts';
import type { Parsed } from './parse.ts';
import { humanSize } from './size.ts';
import { renderTable } from './table.ts';

const EXCLUDED = ['digests', 'filter', 'format', 'no-trunc', 'quiet'];

/** `images --tree` */
export async function showTrees(context: Context, parsed: Parsed, engine: Engine): Promise<number> {
  const other = EXCLUDED.find((long) => parsed.has(long));
  if (other !== undefined) throw new TinyrunError('invalid', `--${other} is not yet supported with --tree`);
  const only = parsed.operands[0];
  const trees = (await engine.imageTrees()).filter(
    ({ names }) => only === undefined || names.some((name) => isNamed(name, only)),
  );
  const shown = trees.filter(({ names }) => names.length > 0 || parsed.bool('all'));
  const rows = shown.flatMap(rowsOf);
  context.stdout.write(renderTable([['IMAGE', 'ID', 'DISK USAGE', 'SHARED', 'SHARED LAYERS'], ...rows]));
  return 0;
}

function rowsOf({ names, target, size, platforms }: ImageTree): string[][] {
  const [first = '<untagged>', ...more] = names.map((name) => familiarName(parseReference(name)));
  const top = [first, short(target), humanSize(size, 3), '', ''];
  const aliases = more.map((name) => [name, short(target), '', '', '']);
  return [top, ...aliases, ...platforms.map((one, at) => platformRow(one, at === platforms.length - 1))];
}

function platformRow(one: PlatformImage, isLast: boolean): string[] {
  const { platform, id, size, shared, layers, sharedLayers } = one;
  return [
    `${isLast ? '└─' : '├─'} ${platform}`,
    short(id),
    humanSize(size, 3),
    humanSize(shared, 3),
    `${sharedLayers} of ${layers}`,
  ];
}

function isNamed(name: string, only: string): boolean {
  const wanted = parseReference(only);
  const { registry, repository, tag } = parseReference(name);
  const isSame = registry === wanted.registry && repository === wanted.repository;
  return isSame && (wanted.tag === undefined || wanted.tag === tag);
}

function short(digest: string): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12);
}
