import { describe, expect, it } from '@jest/globals';
import { Recent } from './recent.js';

describe('a map of what was used lately', () => {
  it('lets go what was used longest ago when it is full', () => {
    const recent = new Recent<number>({ most: 2, keepMs: 100 });
    recent.set('a', 1, 0);
    recent.set('b', 2, 1);
    expect(recent.get('a', 2)).toBe(1);
    recent.set('c', 3, 3);
    expect([recent.size, recent.get('b', 3), recent.get('a', 3), recent.get('c', 3)]).toEqual([
      2,
      undefined,
      1,
      3,
    ]);
  });

  it('forgets what was not used for so long, whatever is asked for', () => {
    const recent = new Recent<number>({ most: 10, keepMs: 100 });
    for (const [i, key] of ['a', 'b', 'c'].entries()) recent.set(key, i, i);
    expect(recent.get('b', 100)).toBe(1);
    expect(recent.get('other', 150)).toBeUndefined();
    expect(recent.size).toBe(1);
    expect(recent.get('b', 199)).toBe(1);
    expect(recent.get('b', 299)).toBeUndefined();
    expect(recent.size).toBe(0);
  });
});
