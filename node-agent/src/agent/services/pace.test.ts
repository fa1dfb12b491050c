import { describe, expect, it } from '@jest/globals';
import { Pace } from './pace.js';

describe('pace', () => {
  it('lets a costly service rest for as long as it took, and for longer where nothing has changed', () => {
    const pace = new Pace();
    pace.took('large', 500, 10_000);
    pace.took('small', 19, 10_000);
    expect(pace.changedAt('large')).toBe(10_500);
    expect(pace.followedAt('large')).toBe(14_500);
    for (const name of ['small', 'unknown']) {
      expect(pace.changedAt(name)).toBe(-Infinity);
      expect(pace.followedAt(name)).toBe(-Infinity);
    }
  });

  it('forgets who has become small, or is gone', () => {
    const pace = new Pace();
    for (const name of ['shrunk', 'gone']) pace.took(name, 500, 10_000);
    pace.took('shrunk', 1, 11_000);
    pace.forget('gone');
    expect([pace.changedAt('shrunk'), pace.changedAt('gone')]).toEqual([-Infinity, -Infinity]);
  });
});
