import { TinyrunError } from '../errors.ts';
import { readLayerRecord } from '../image/layer-record.ts';
import { layerName } from '../image/layers.ts';
import type { Core } from './core.ts';

/** One step of how an image was made. */
export interface HistoryStep {
  /** The image's id for the newest step; the others have none in images that were pulled. */
  readonly id?: string;
  /** RFC 3339, as the image says it. */
  readonly created?: string;
  readonly createdBy: string;
  readonly comment: string;
  /** Bytes that the step's layer has unpacked; 0 for a step that only changed the config. */
  readonly size: number;
}

/** The steps of an image, the newest first. @throws TinyrunError `not_found` */
export async function imageHistory(core: Core, text: string): Promise<HistoryStep[]> {
  const image = (await core.store()).resolve(text);
  if (image === undefined) throw new TinyrunError('not_found', `No such image: ${text}`);
  const diffIds = image.config.rootfs.diff_ids;
  let position = 0;
  const nextSize = (): number => {
    const name = layerName(core.paths, diffIds, position);
    position += 1;
    return name === undefined ? 0 : (readLayerRecord(core.paths, name)?.bytes ?? 0);
  };
  const steps = image.config.history.map(
    (entry): HistoryStep => ({
      ...(entry.created === undefined ? {} : { created: entry.created }),
      createdBy: entry.created_by ?? '',
      comment: entry.comment ?? '',
      size: entry.empty_layer === true ? 0 : nextSize(),
    }),
  );
  // What made these is not said: tools that squash leave the history out.
  while (position < diffIds.length) steps.push({ createdBy: '', comment: '', size: nextSize() });
  return steps.reverse().map((step, at) => (at === 0 ? { ...step, id: image.id } : step));
}
