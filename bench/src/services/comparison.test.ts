import { describe, expect, it } from '@jest/globals';
import type { Samples } from './bursts.js';
import { compare } from './comparison.js';

function samples(connectUs: number[], connectionsPerSecond: number[]): Samples {
  return { connectUs, connectP99Us: connectUs.map((each) => each * 2), connectionsPerSecond };
}

describe('the comparison with direct', () => {
  // The second turn is half as fast as the first, for everybody.
  const direct = samples([10, 20, 10], [1000, 500, 1000]);
  const sal = samples([11, 21, 11], [900, 450, 900]);

  it('is made turn by turn', () => {
    const compared = compare(7, { direct, sal }, undefined);
    expect(compared).toMatchObject({
      services: 7,
      connectUs: { direct: 10, sal: 11 },
      connectionsPerSecond: { direct: 1000, sal: 900 },
      overDirectUs: { sal: 1 },
      ofDirect: { sal: 0.9 },
      connectP99Us: { direct: 20, sal: 22 },
    });
    expect(compared.overDirectUs).not.toHaveProperty('direct');
    expect(compared.direct).not.toHaveProperty('alone');
  });

  it('takes direct as it was in turns where that differs by chance only', () => {
    const { connectUs, direct: both } = compare(7, { direct, sal }, samples([9.85], [1015]));
    expect(connectUs.direct).toBe(10);
    expect(both.alone).toEqual({ connectUs: 9.85, connectionsPerSecond: 1015 });
  });

  it('takes the better direct where the programs slow it down', () => {
    expect(compare(7, { direct, sal }, samples([9], [1250]))).toMatchObject({
      connectUs: { direct: 9, sal: 11 },
      connectionsPerSecond: { direct: 1250, sal: 900 },
      overDirectUs: { sal: 2 },
      ofDirect: { sal: 0.72 },
    });
  });

  it('keeps direct as it was in turns where it was slower alone', () => {
    expect(compare(7, { direct, sal }, samples([12], [800]))).toMatchObject({
      connectUs: { direct: 10 },
      ofDirect: { sal: 0.9 },
    });
  });

  it('needs direct', () => expect(() => compare(7, { sal }, undefined)).toThrow('direct'));
});
