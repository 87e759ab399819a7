import { describe, expect, test } from 'vitest';
import { eventFilter } from '../../../src/cli/event-filter.ts';
import { eventJson, eventText } from '../../../src/cli/event-text.ts';
import type { EngineEvent } from '../../../src/engine/index.ts';

const event: EngineEvent = {
  type: 'container',
  action: 'exec_create: ls -l',
  id: 'abcdef012345',
  attributes: { image: 'busybox:1.37', name: 'web', tier: 'front' },
  nanoseconds: 1767312245678901234n,
};
const image: EngineEvent = {
  type: 'image',
  action: 'pull',
  id: 'busybox:latest',
  attributes: { name: 'busybox' },
  nanoseconds: 1n,
};

describe('eventFilter()', () => {
  test.each<[string[], boolean, boolean]>([
    [[], true, true],
    [['type=container'], true, false],
    [['type=container', 'type=image'], true, true],
    [['container=web'], true, false],
    [['container=abcdef'], true, false],
    [['container=we'], false, false],
    [['event=exec_create'], true, false],
    [['event=exec'], false, false],
    [['event=pull'], false, true],
    [['label=tier'], true, false],
    [['label=tier=front', 'label=name=web'], true, false],
    [['label=tier=front', 'label=other'], false, false],
    [['image=busybox'], true, true],
    [['image=busybox:1.37'], true, false],
    [['image=busy'], false, false],
    [['scope=local'], true, true],
    [['type=container', 'event=die'], false, false],
  ])('%j', (texts, ofContainer, ofImage) => {
    const matches = eventFilter(
      texts.map((text): [string, string] => [
        text.slice(0, text.indexOf('=')),
        text.slice(text.indexOf('=') + 1),
      ]),
    );
    expect([matches(event), matches(image)]).toEqual([ofContainer, ofImage]);
  });

  test('refuses what Docker does not know', () => {
    expect(() => eventFilter([['color', 'red']])).toThrow("invalid filter 'color'");
  });
});

test('eventText() is what Docker prints, in the zone of the machine', () => {
  const text = eventText(event);
  expect(text).toMatch(
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:05\.678901234(Z|[+-]\d\d:\d\d) container exec_create: ls -l /,
  );
  expect(text.endsWith(' abcdef012345 (image=busybox:1.37, name=web, tier=front)')).toBe(true);
  expect(BigInt(Date.parse(text.slice(0, text.indexOf(' '))))).toBe(event.nanoseconds / 1_000_000n);
});

test('eventJson() is what Docker’s API sends', () => {
  expect(eventJson(event)).toBe(
    '{"status":"exec_create: ls -l","id":"abcdef012345","from":"busybox:1.37","Type":"container",' +
      '"Action":"exec_create: ls -l","Actor":{"ID":"abcdef012345","Attributes":{"image":"busybox:1.37",' +
      '"name":"web","tier":"front"}},"scope":"local","time":1767312245,"timeNano":1767312245678901234}',
  );
  expect(eventJson(image)).not.toContain('from');
});
