import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { everyMs, mostPutOff, Sweeper, type SweepDeps } from './sweeper.js';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

/** An agent with a migration here or not, and how often it has looked for ended flows. */
function agent() {
  const state = { calm: true };
  let looks = 0;
  const sweeper = new Sweeper({
    core: { views: () => (looks++, []), isCalm: () => state.calm },
    pods: { all: () => [] },
  } as unknown as SweepDeps);
  return { state, sweeper, looks: () => looks };
}

const turns = (count: number): Promise<void> => jest.advanceTimersByTimeAsync(everyMs * count);

describe('the sweeper', () => {
  it('waits while something moves here, and makes up for it', async () => {
    const { state, looks, sweeper } = agent();
    state.calm = false;
    await turns(3);
    expect(looks()).toBe(0);
    state.calm = true;
    await turns(1);
    expect(looks()).toBe(1);
    await sweeper.stop();
  });

  it('does not wait for ever', async () => {
    const { state, looks, sweeper } = agent();
    state.calm = false;
    await turns(mostPutOff);
    expect(looks()).toBe(0);
    await turns(1);
    expect(looks()).toBe(1);
    await turns(mostPutOff);
    expect(looks()).toBe(1);
    await sweeper.stop();
  });
});
