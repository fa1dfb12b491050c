/** An agent is killed at each step of a move, and started again a moment later. */
import { it } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { kills, type Kill } from '../faults/catalogue.js';
import { Halt } from '../faults/halt.js';
import type { Attempt } from '../faults/world.js';
import { expectWhole, faultMs, inWorld } from './faults-world.js';

const downMs = 200;
/** An agent starts within this; what it holds is counted anew then. */
const startMs = 4_000;

async function killed(
  { who, phase, written, unwritten, nth }: Kill,
  attempt: Attempt,
  halt: Halt,
): Promise<void> {
  const reached = await halt.reached(attempt.over);
  if (!reached)
    throw new Error(`the ${who} never came to ${phase ?? `write ${nth} of ${written ?? unwritten}`}`);
  await halt.agent.kill();
  halt.disarm();
  await delay(downMs);
  await halt.agent.start();
}

for (const role of ['source', 'target', 'peer'])
  inWorld({ title: `agents that are killed: ${role}`, saveAs: `kill-${role}` }, (made) => {
    it.each(kills.filter(({ who }) => who === role))(
      '$name',
      async (fault) => {
        const world = made();
        const { who, phase, written, unwritten, nth } = fault;
        const step = phase === undefined ? { written, unwritten, nth } : { role: who, phase };
        const halt = new Halt(world.agentOf(who), step);
        const ended = await world
          .attempt(fault, (attempt) => killed(fault, attempt, halt))
          .finally(() => halt.disarm());
        expectWhole(world, fault, ended, downMs + startMs);
        await world.moves();
      },
      faultMs,
    );
  });
