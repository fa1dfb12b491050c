import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { cut, eventName, newEvent, seriesKey, type Occurrence } from './event-rules.js';

const object = {
  apiVersion: 'serval.io/v1alpha1',
  kind: 'ServalMigration',
  name: 'm',
  namespace: 'shop',
  uid: 'u1',
};
const moved: Occurrence = { object, type: 'Normal', reason: 'Moved', message: 'it is there', action: 'Move' };

describe('an Event', () => {
  it('says what, of what, by whom and when', () => {
    const times = { first: new Date('2026-01-01T00:00:00.5Z'), last: new Date('2026-01-01T00:00:09Z') };
    const event = newEvent(moved, { controller: 'serval.io/operator', instance: 'pod-1' }, 'm.1', {
      ...times,
      count: 1,
    });
    expect(event).toEqual({
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: 'm.1', namespace: 'shop' },
      eventTime: '2026-01-01T00:00:00.500000Z',
      reportingController: 'serval.io/operator',
      reportingInstance: 'pod-1',
      type: 'Normal',
      reason: 'Moved',
      action: 'Move',
      note: 'it is there',
      regarding: object,
    });
    const reporter = { controller: 'c', instance: 'i' };
    expect(newEvent(moved, reporter, 'm.1', { ...times, count: 3 })).toMatchObject({
      series: { count: 3, lastObservedTime: '2026-01-01T00:00:09.000000Z' },
    });
    const node = { ...moved, object: { ...object, namespace: undefined } };
    expect(newEvent(node, reporter, 'm.1', { ...times, count: 1 })).toMatchObject({
      metadata: { namespace: 'default' },
    });
  });

  it('is of another series when anything but its action differs', () => {
    const others: Occurrence[] = [
      { ...moved, type: 'Warning' },
      { ...moved, reason: 'Other' },
      { ...moved, message: 'other' },
      { ...moved, object: { ...object, uid: 'u2' } },
      { ...moved, object: { ...object, name: 'other' } },
      { ...moved, object: { ...object, kind: 'other' } },
      { ...moved, reason: 'Movedit', message: ' is there' },
    ];
    expect(new Set([moved, ...others].map(seriesKey)).size).toBe(8);
    expect(seriesKey({ ...moved, action: 'Other' })).toBe(seriesKey(moved));
  });

  it('has a name that is not too long, and ends no label with what may not end one', () => {
    expect(eventName(object, '0123456789abcdef')).toBe('m.0123456789abcdef');
    const long = eventName({ ...object, name: `${'a'.repeat(235)}.${'b'.repeat(17)}` }, '0123456789abcdef');
    expect(long).toBe(`${'a'.repeat(235)}.0123456789abcdef`);
    expect(long.length).toBeLessThanOrEqual(253);
  });
});

describe('a message', () => {
  it.each([
    ['a'.repeat(1_024), 'a'.repeat(1_024)],
    ['a'.repeat(1_025), `${'a'.repeat(1_021)}…`],
    [`${'a'.repeat(1_020)}äää`, `${'a'.repeat(1_020)}…`],
    ['😀'.repeat(300), `${'😀'.repeat(255)}…`],
  ])('is cut between characters (%#)', (message, expected) => {
    expect(cut(message)).toBe(expected);
  });

  it('has 1,024 bytes at most, and begins as it did', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 200, maxLength: 900 }), (message) => {
        const short = cut(message);
        expect(Buffer.byteLength(short)).toBeLessThanOrEqual(1_024);
        expect(message.startsWith(short.replace(/…$/, '')) || short === message).toBe(true);
        expect(Buffer.byteLength(short)).toBeGreaterThanOrEqual(Math.min(1_021, Buffer.byteLength(message)));
      }),
    );
  });
});
