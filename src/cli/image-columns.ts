import type { StoredImage } from '../engine/index.ts';
import { ago } from './duration.ts';
import { humanSize } from './size.ts';

export const IMAGE_COLUMNS = {
  headings: {
    ID: 'IMAGE ID',
    Repository: 'REPOSITORY',
    Tag: 'TAG',
    Digest: 'DIGEST',
    CreatedSince: 'CREATED',
    CreatedAt: 'CREATED AT',
    Size: 'SIZE',
    Platform: 'PLATFORM',
    Containers: 'CONTAINERS',
    SharedSize: 'SHARED SIZE',
    UniqueSize: 'UNIQUE SIZE',
    VirtualSize: 'SIZE',
  },
  table: '{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}',
  tableWithDigests: '{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}',
} as const;

type Fields = Readonly<Record<keyof (typeof IMAGE_COLUMNS)['headings'], string>>;

/** A line of `images`: an image under one of its names. */
export interface ImageRow {
  readonly image: StoredImage;
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
}

export interface RowChoice {
  /** Show images without a name, too. */
  readonly dangling: boolean;
  readonly digests: boolean;
  /** `repository` or `repository:tag`. */
  readonly only?: string;
}

const NONE = '<none>';

/** A line for every tag, newest image first; for an image without tags one line with its repository, if it was pulled. */
export function imageRows(images: readonly StoredImage[], choice: RowChoice): ImageRow[] {
  const sorted = [...images].sort((a, b) => ((a.created ?? '') < (b.created ?? '') ? 1 : -1));
  return sorted.flatMap((image) => rowsOf(image).filter((row) => wanted(row, choice)));
}

function rowsOf(image: StoredImage): ImageRow[] {
  const digests = image.repoDigests.map(splitDigest);
  const rows = image.references.flatMap((name): ImageRow[] => {
    if (name.includes('@')) return [];
    const { repository, tag } = splitTag(name);
    const digest = digests.find((one) => one.repository === repository)?.digest ?? NONE;
    return [{ image, repository: familiar(repository), tag, digest }];
  });
  if (rows.length > 0) return rows;
  const [first] = digests;
  return [
    {
      image,
      repository: first === undefined ? NONE : familiar(first.repository),
      tag: NONE,
      digest: first?.digest ?? NONE,
    },
  ];
}

function wanted(row: ImageRow, choice: RowChoice): boolean {
  if (choice.only !== undefined) {
    const colon = choice.only.lastIndexOf(':');
    const tagged = colon > choice.only.lastIndexOf('/');
    const repository = familiar(tagged ? choice.only.slice(0, colon) : choice.only);
    return row.repository === repository && (!tagged || row.tag === choice.only.slice(colon + 1));
  }
  return choice.dangling || choice.digests || row.repository !== NONE;
}

export function imageFields(how: {
  readonly now: number;
  readonly truncate: boolean;
}): (row: ImageRow) => Fields {
  return ({ image, repository, tag, digest }) => {
    return {
      ID: how.truncate ? image.id.slice('sha256:'.length, 'sha256:'.length + 12) : image.id,
      Repository: repository,
      Tag: tag,
      Digest: digest,
      CreatedSince: ago(image.created, how.now) || 'N/A',
      CreatedAt: image.created ?? 'N/A',
      get Size() {
        return humanSize(image.size, 3);
      },
      get Platform() {
        const { os, architecture, variant } = image.config;
        return [os, architecture, variant].filter((part) => part !== undefined).join('/');
      },
      Containers: 'N/A',
      // Docker, too, counts these for `system df -v` only.
      SharedSize: 'N/A',
      UniqueSize: 'N/A',
      get VirtualSize() {
        return humanSize(image.size, 3);
      },
    };
  };
}

function splitTag(name: string): { repository: string; tag: string } {
  const colon = name.lastIndexOf(':');
  return { repository: name.slice(0, colon), tag: name.slice(colon + 1) };
}

function splitDigest(name: string): { repository: string; digest: string } {
  const at = name.lastIndexOf('@');
  return { repository: name.slice(0, at), digest: name.slice(at + 1) };
}

/** `docker.io/library/busybox` as people write it. */
function familiar(repository: string): string {
  return repository.replace(/^(index\.)?docker\.io\//, '').replace(/^library\/([^/]+)$/, '$1');
}
