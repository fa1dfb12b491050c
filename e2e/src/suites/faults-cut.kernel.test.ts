/** A host is cut off at a step of a move, and reachable again some seconds later. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { cuts, type Cut } from '../faults/catalogue.js';
import { Halt } from '../faults/halt.js';
import { deadlines, World, type Attempt } from '../faults/world.js';

/** A world for each: a workload has moved too often for the protocol after 32 moves. */
describe.each(['source', 'target', 'peer'])('hosts that are cut off: %s', (role) => {
  let world: World;

  beforeAll(async () => {
    world = await World.make();
  }, 60_000);

  afterAll(async () => {
    world?.save(`cut-${role}`);
    await world?.remove();
  }, 30_000);

  const cutOff = async ({ who, phase, ms }: Cut, { hosts, over }: Attempt, halt: Halt): Promise<void> => {
    if (!(await halt.reached(over))) throw new Error(`the ${who} never came to ${phase}`);
    await world.lab.cut(hosts[who]);
    try {
      halt.goOn();
      await delay(ms);
    } finally {
      await world.lab.mend(hosts[who]);
    }
  };

  it.each(cuts.filter(({ who }) => who === role))(
    '$name',
    async (fault) => {
      const halt = new Halt(world.agentOf(fault.who), { role: fault.who, phase: fault.phase });
      const ended = await world
        .attempt(fault, (attempt) => cutOff(fault, attempt, halt))
        .finally(() => halt.disarm());
      if (fault.outcome !== 'either') expect(ended.outcome).toBe(fault.outcome);
      expect(ended.mostCopies).toBe(1);
      expect(ended.longestHoldMs).toBeLessThan(deadlines.peerHoldMs + fault.ms + 2_000);
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
