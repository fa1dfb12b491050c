import { describe, expect, it } from '@jest/globals';
import {
  after,
  defaultTimes,
  nextStep,
  timesTrouble,
  trustedBy,
  type Authority,
  type AuthorityState,
} from './authority-plan.js';

const day = 86_400_000;
const times = { lifeMs: 300 * day, noticeMs: day, certificateMs: 30 * day };
const authority = (cert: string, from: number): Authority => ({
  cert,
  key: `${cert} key`,
  from: from * day,
  until: (from + 300) * day,
});
const fresh: AuthorityState = {
  current: authority('one ', 0),
  signsSince: 0,
  previous: [],
  isRotationWanted: false,
};
const two = authority('two ', 200);
const step = (state: AuthorityState, days: number) => nextStep(state, times, days * day);

describe('an authority', () => {
  it.each<[string, Partial<AuthorityState>, number, object]>([
    ['is left alone while it is young', {}, 199, { do: 'nothing' }],
    ['is followed when a third of its life is left', {}, 200, { do: 'make' }],
    ['is followed when somebody wants it', { isRotationWanted: true }, 1, { do: 'make' }],
    ['has its follower published before anything else', { next: two }, 200, { do: 'note' }],
    ['signs while its follower is new', { next: two, publishedAt: 200 * day }, 200.9, { do: 'nothing' }],
    ['makes place after the notice', { next: two, publishedAt: 200 * day }, 201, { do: 'promote' }],
    ['that has ended makes place at once', { next: two, publishedAt: 300 * day }, 300, { do: 'promote' }],
    ['that has ended is followed', {}, 400, { do: 'make' }],
    ['does not lose a follower that nobody was told of', { next: two }, 400, { do: 'note' }],
    [
      'stays trusted while certificates of it may live',
      { previous: [authority('zero ', -100)], signsSince: 100 * day },
      130,
      { do: 'nothing' },
    ],
    [
      'is trusted no more after that',
      { previous: [authority('zero ', -100)], signsSince: 100 * day },
      130.1,
      { do: 'retire', certs: ['zero '] },
    ],
    [
      'is trusted no more when it has ended itself',
      { previous: [authority('zero ', -290), authority('half ', -100)], signsSince: 0 },
      10,
      { do: 'retire', certs: ['zero '] },
    ],
    [
      'is written down as signing where nobody knows since when',
      { previous: [authority('zero ', -100)], signsSince: undefined as never },
      100,
      { do: 'note' },
    ],
  ])('%s', (_, change, days, expected) => {
    expect(step({ ...fresh, ...change }, days)).toEqual(expected);
  });

  it('is followed without a moment in which a certificate that lives is of nobody who is trusted', () => {
    let state = fresh;
    /** until when each has certificates out there */
    const inUse = new Map<string, number>();
    const trustedSince = new Map([[fresh.current.cert, -Infinity]]);
    let made = 0;
    const settle = (at: number): void => {
      let next = step(state, at);
      for (; next.do !== 'nothing'; next = step(state, at)) {
        state = after(
          next,
          state,
          at * day,
          next.do === 'make' ? authority(`made${++made} `, at) : undefined,
        );
        const trusted = trustedBy(state);
        for (const [cert, until] of inUse) expect(until <= at || trusted.includes(cert)).toBe(true);
        if (state.next !== undefined && !trustedSince.has(state.next.cert))
          trustedSince.set(state.next.cert, at);
        // Never a rotation on top of another.
        expect(state.previous.length).toBeLessThanOrEqual(1);
      }
    };
    for (let at = 0; at < 1_500; at += 0.25) {
      settle(at);
      const { cert, until } = state.current;
      expect(at - (trustedSince.get(cert) ?? at)).toBeGreaterThanOrEqual(1);
      expect(trustedBy(state).startsWith(cert)).toBe(true);
      inUse.set(cert, Math.min(at + 30, until / day));
    }
    expect(made).toBeGreaterThan(5);
  });

  it('needs the time to be followed', () => {
    expect(timesTrouble(defaultTimes)).toBeUndefined();
    expect(timesTrouble({ ...times, lifeMs: 183 * day })).toBeUndefined();
    expect(timesTrouble({ ...times, lifeMs: 182 * day })).toMatch(/has not the time to be followed/);
  });
});
