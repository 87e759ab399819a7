import type { EngineEvent } from '../engine/index.ts';

/**
 * An event as Docker's client prints it:
 * `2026-01-02T03:04:05.678000000+01:00 container die <id> (exitCode=0, image=busybox, name=x)`.
 */
export function eventText({ type, action, id, attributes, nanoseconds }: EngineEvent): string {
  const pairs = Object.entries(attributes)
    .map(([key, value]) => `${key}=${value}`)
    .sort();
  const details = pairs.length === 0 ? '' : ` (${pairs.join(', ')})`;
  return `${localTime(nanoseconds)} ${type} ${action} ${id}${details}`;
}

/**
 * As Docker's API sends it, in one line.
 * @see https://github.com/moby/moby/blob/master/api/types/events/events.go
 */
export function eventJson(event: EngineEvent): string {
  const { type, action, id, attributes, nanoseconds } = event;
  const { Status, ID, From, Time } = eventFields(event);
  const text = JSON.stringify({
    // What old clients read; they know of containers and images only.
    ...(Status === '' ? {} : { status: Status, id: ID }),
    ...(From === '' ? {} : { from: From }),
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: attributes },
    scope: 'local',
    time: Time,
  });
  // More than a number of JavaScript holds.
  return `${text.slice(0, -1)},"timeNano":${nanoseconds}}`;
}

/** The fields of Docker's event for a template. */
export function eventFields({ type, action, id, attributes, nanoseconds }: EngineEvent) {
  const isOld = type === 'container' || type === 'image';
  return {
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: attributes },
    Scope: 'local',
    Time: Number(nanoseconds / 1_000_000_000n),
    TimeNano: String(nanoseconds),
    Status: isOld ? action : '',
    ID: isOld ? id : '',
    From: type === 'container' ? (attributes.image ?? '') : '',
  };
}

/** RFC 3339 with nanoseconds in the zone of this machine. @param nanoseconds since 1970 */
export function localTime(nanoseconds: bigint): string {
  const milliseconds = Number(nanoseconds / 1_000_000n);
  const offset = -new Date(milliseconds).getTimezoneOffset();
  const shifted = new Date(milliseconds + offset * 60_000).toISOString().slice(0, 19);
  const fraction = (nanoseconds % 1_000_000_000n).toString().padStart(9, '0');
  return `${shifted}.${fraction}${zone(offset)}`;
}

/** @param minutes east of Greenwich */
function zone(minutes: number): string {
  if (minutes === 0) return 'Z';
  const two = (value: number): string => String(value).padStart(2, '0');
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${two(Math.trunc(size / 60))}:${two(size % 60)}`;
}
