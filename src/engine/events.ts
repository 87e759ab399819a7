import { appendEvents } from '../disk/journal.ts';
import type { ContainerRecord } from './containers.ts';
import type { Core } from './core.ts';

/** What an event says of the thing it happened to: Docker's Actor.Attributes. */
export type Attributes = Readonly<Record<string, string>>;

export interface EventSubject {
  readonly type: 'container' | 'image' | 'network' | 'volume' | 'builder' | 'daemon';
  readonly id: string;
  readonly attributes: Attributes;
}

/** Notes that something was done to a container. @param attributes besides its image, name and labels */
export function containerEvent(
  core: Core,
  record: ContainerRecord,
  action: string,
  attributes: Attributes = {},
): Promise<void> {
  const subject: EventSubject = {
    type: 'container',
    id: record.id,
    attributes: containerAttributes(record, attributes),
  };
  return emitEvent(core, subject, action);
}

/**
 * Notes that something was done to an image.
 * @param id its digest, or its name where Docker gives that (`pull`, `push`)
 */
export function imageEvent(core: Core, action: string, id: string, name = id): Promise<void> {
  return emitEvent(core, { type: 'image', id, attributes: { name } }, action);
}

/**
 * Appends an event to the journal that `events` shows: one write, so that it may stand on the way of every command. What
 * was done is done: a journal that cannot be written (a full disk) makes no command fail.
 */
export async function emitEvent(core: Core, subject: EventSubject, action: string): Promise<void> {
  try {
    await appendEvents(core.paths, eventLine(subject, action, Date.now()));
  } catch {}
}

/** A container's labels, image and name, as Docker's events have them. */
export function containerAttributes({ name, options, image }: ContainerRecord, more: Attributes): Attributes {
  return { ...image.config.Labels, ...options.labels, image: options.image, name, ...more };
}

/**
 * A line of the journal, in the order that native/journal.c writes its own in. Nanoseconds are more than a number of
 * JavaScript holds.
 * @param now milliseconds since 1970
 */
export function eventLine({ type, id, attributes }: EventSubject, action: string, now: number): string {
  const time = `"time":${Math.floor(now / 1000)},"timeNano":${now}000000`;
  const what = JSON.stringify({ Type: type, Action: action, Actor: { ID: id, Attributes: attributes } });
  return `{${time},${what.slice(1)}\n`;
}
