import type { ContainerRecord } from './containers.ts';
import { containerAttributes } from './events.ts';

/** Bytes. The monitor writes lines of at most 4096, and adds the event's own attributes: see native/journal.c. */
const LONGEST_ACTOR = 3840;

/**
 * Who an event is about, as Docker's events have it, prepared for the monitor: JSON without the two braces that end it. Labels that do
 * not fit into a line of the journal are left out.
 * @param more attributes, such as the id of an exec
 */
export function openActor(record: ContainerRecord, more: Readonly<Record<string, string>> = {}): string {
  const { id, name, options } = record;
  const text = JSON.stringify({ ID: id, Attributes: containerAttributes(record, more) });
  const short = JSON.stringify({ ID: id, Attributes: { image: options.image, name, ...more } });
  return (Buffer.byteLength(text) <= LONGEST_ACTOR ? text : short).slice(0, -2);
}
