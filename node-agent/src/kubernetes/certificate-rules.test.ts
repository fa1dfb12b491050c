import { describe, expect, it } from '@jest/globals';
import {
  answerOf,
  isUsable,
  nextAsk,
  renewalPart,
  requestName,
  retirementWait,
  type Answer,
  type Held,
  type SigningRequest,
} from './certificate-rules.js';

const held: Held = { from: 0, until: 900, isTrusted: true, isOfFirst: true };
const part = 2 / 3;

describe('the next certificate', () => {
  it.each<[string, Partial<Held> | undefined, number, number | undefined, object]>([
    ['there is none', undefined, 5, undefined, { why: 'absent', at: 5 }],
    ['two thirds are over', {}, 5, undefined, { why: 'due', at: 600 }],
    ['it is late', {}, 800, undefined, { why: 'due', at: 600 }],
    ['it has ended', {}, 900, undefined, { why: 'expired', at: 900 }],
    ['it is not valid yet', { from: 10 }, 5, undefined, { why: 'notYetValid', at: 5 }],
    ['nobody trusts it', { isTrusted: false, isOfFirst: false }, 5, undefined, { why: 'untrusted', at: 5 }],
    ['another authority signs now', { isOfFirst: false }, 5, 100, { why: 'retiring', at: 100 }],
    ['that is no sooner', { isOfFirst: false }, 5, 700, { why: 'due', at: 600 }],
    ['that has been done', { isOfFirst: false }, 5, undefined, { why: 'due', at: 600 }],
    ['its own authority signs', {}, 5, 100, { why: 'due', at: 600 }],
  ])('is asked for when %s', (_, change, now, retireAt, expected) => {
    const given = change === undefined ? undefined : { ...held, ...change };
    expect(nextAsk(given, { now, part, retireAt })).toEqual(expected);
  });

  it('is asked for at about two thirds, by each at another moment', () => {
    expect([0, 0.5, 1].map((random) => Math.round(renewalPart(random) * 100))).toEqual([60, 67, 73]);
    expect(retirementWait(held, 1_000, 0.5)).toBe(45);
    expect(retirementWait(held, 10, 0.5)).toBe(5);
  });

  it.each<[boolean, Partial<Held>, number]>([
    [true, {}, 5],
    [true, { isOfFirst: false }, 5],
    [false, { isTrusted: false }, 5],
    [false, {}, 900],
    [false, { from: 10 }, 5],
  ])('can wait: %p with %p at %d', (expected, change, now) => {
    expect(isUsable({ ...held, ...change }, now)).toBe(expected);
  });

  it('is asked for under a name that Kubernetes takes', () => {
    expect(requestName('n1', 'abcd')).toBe('serval-n1-abcd');
    const long = requestName(`${'a.'.repeat(126)}b`, '0123456789abcdef');
    expect(long.length).toBeLessThanOrEqual(253);
    expect(long).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
  });
});

describe('an answer', () => {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const condition = (type: string) => ({ conditions: [{ type, reason: 'R', message: 'because' }] });
  it.each<[string, SigningRequest['status'], Answer]>([
    ['nobody has looked at', undefined, { is: 'pending' }],
    ['is approved and not signed', condition('Approved'), { is: 'pending' }],
    ['is denied', condition('Denied'), { is: 'refused', reason: 'Denied, R: because' }],
    ['failed', condition('Failed'), { is: 'refused', reason: 'Failed, R: because' }],
    [
      'is signed',
      { ...condition('Approved'), certificate: base64('PEM') },
      { is: 'issued', certificate: 'PEM' },
    ],
  ])('to what %s', (_, status, expected) => {
    const request = { spec: { request: base64('asked') }, ...(status === undefined ? {} : { status }) };
    expect(answerOf(request, (text) => text === 'asked')).toEqual(expected);
    const foreign = { is: 'refused', reason: 'somebody else has a request of this name' };
    expect(answerOf(request, () => false)).toEqual(foreign);
  });
});
