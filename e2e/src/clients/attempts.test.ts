import { describe, expect, it } from '@jest/globals';
import { summarize, type Attempt } from './attempts.js';

const attempt = (connectMs: number, rest: Partial<Attempt> = {}): Attempt => ({
  at: 0,
  connectMs,
  ms: connectMs + 1,
  ...rest,
});

describe('a summary of attempts', () => {
  it('counts who answered and what failed, and has the failed ones in its times', () => {
    const attempts = [
      ...Array.from({ length: 97 }, () => attempt(1, { name: 'a' })),
      attempt(2, { name: 'b' }),
      attempt(20, { name: 'b' }),
      attempt(3000, { error: 'connect: no answer in time' }),
    ];
    expect(summarize(attempts)).toEqual({
      attempts: 100,
      failed: 1,
      counts: { a: 97, b: 2 },
      errors: { 'connect: no answer in time': 1 },
      connectMs: { median: 1, p99: 3000, worst: 3000 },
      worstMs: 3001,
    });
  });

  it('is of zeros when there was none', () => {
    expect(summarize([])).toMatchObject({ attempts: 0, failed: 0, connectMs: { worst: 0 }, worstMs: 0 });
  });
});
