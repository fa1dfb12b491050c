/** A host is cut off at a step of a move, and reachable again some seconds later. */
import { it } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { cuts, type Cut } from '../faults/catalogue.js';
import { Halt } from '../faults/halt.js';
import type { Attempt, World } from '../faults/world.js';
import { expectWhole, faultMs, inWorld } from './faults-world.js';

async function cutOff(
  { lab }: World,
  { who, phase, ms }: Cut,
  { hosts, over }: Attempt,
  halt: Halt,
): Promise<void> {
  if (!(await halt.reached(over))) throw new Error(`the ${who} never came to ${phase}`);
  await lab.cut(hosts[who]);
  try {
    halt.goOn();
    await delay(ms);
  } finally {
    await lab.mend(hosts[who]);
  }
}

for (const role of ['source', 'target', 'peer'])
  inWorld({ title: `hosts that are cut off: ${role}`, saveAs: `cut-${role}` }, (made) => {
    it.each(cuts.filter(({ who }) => who === role))(
      '$name',
      async (fault) => {
        const world = made();
        const halt = new Halt(world.agentOf(fault.who), { role: fault.who, phase: fault.phase });
        const ended = await world
          .attempt(fault, (attempt) => cutOff(world, fault, attempt, halt))
          .finally(() => halt.disarm());
        expectWhole(world, fault, ended, fault.ms + 2_000);
        await world.moves();
      },
      faultMs,
    );
  });
