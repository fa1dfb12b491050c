/** An agent is killed at each step of a move, and started again a moment later. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { kills, type Kill } from '../faults/catalogue.js';
import { Halt } from '../faults/halt.js';
import { deadlines, World, type Attempt } from '../faults/world.js';

const downMs = 200;
/** An agent starts within this; what it holds is counted anew then. */
const startMs = 4_000;

/** A world for each: a workload has moved too often for the protocol after 32 moves. */
describe.each(['source', 'target', 'peer'])('agents that are killed: %s', (role) => {
  let world: World;

  beforeAll(async () => {
    world = await World.make();
  }, 60_000);

  afterAll(async () => {
    world?.save(`kill-${role}`);
    await world?.remove();
  }, 30_000);

  const killed = async ({ who, phase, written, nth }: Kill, attempt: Attempt, halt: Halt): Promise<void> => {
    const reached = await halt.reached(attempt.over);
    if (!reached) throw new Error(`the ${who} never came to ${phase ?? `write ${nth} of ${written}`}`);
    await halt.agent.kill();
    halt.disarm();
    await delay(downMs);
    await halt.agent.start();
  };

  it.each(kills.filter(({ who }) => who === role))(
    '$name',
    async (fault) => {
      const { who, phase, written, nth } = fault;
      const step = phase === undefined ? { written, nth } : { role: who, phase };
      const halt = new Halt(world.agentOf(who), step);
      const ended = await world
        .attempt(fault, (attempt) => killed(fault, attempt, halt))
        .finally(() => halt.disarm());
      if (fault.outcome !== 'either') expect(ended.outcome).toBe(fault.outcome);
      expect(ended.mostCopies).toBe(1);
      expect(ended.longestHoldMs).toBeLessThan(deadlines.peerHoldMs + downMs + startMs);
      expect(ended.reason).not.toBe('');
      expect(world.copies()).toHaveLength(1);
      await world.moves();
    },
    90_000,
  );

  it('leaves every stream whole', async () => {
    const { errors, connections, finished } = await world.intact();
    expect(errors).toEqual([]);
    expect(finished).toBe(connections);
  }, 60_000);
});
