import { describe, expect, it } from '@jest/globals';
import { setImmediate as turn } from 'node:timers/promises';
import { count, inParallel } from './in-parallel.js';

describe('inParallel', () => {
  it('does all of it, so many at a time', async () => {
    let [running, most] = [0, 0];
    const done: number[] = [];
    await inParallel(count(20), 3, async (item, index) => {
      most = Math.max(most, ++running);
      await turn();
      running--;
      done.push(item);
      expect(index).toBe(item);
    });
    expect(done.sort((a, b) => a - b)).toEqual(count(20));
    expect(most).toBe(3);
  });

  it('begins nothing more after a failure, and throws it', async () => {
    const begun: number[] = [];
    const work = async (item: number): Promise<void> => {
      begun.push(item);
      await turn();
      if (item === 2) throw new Error('two');
    };
    await expect(inParallel(count(20), 2, work)).rejects.toThrow('two');
    expect(begun.length).toBeLessThan(6);
  });
});
