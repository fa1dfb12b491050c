/** Moves that something else goes wrong in than an agent's or a host's end (faults-kill, faults-cut). */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import {
  clockSteps,
  criuFailures,
  fullDisks,
  noises,
  type ClockStep,
  type Fault,
} from '../faults/catalogue.js';
import { FailingCriu } from '../faults/failing-criu.js';
import { Halt } from '../faults/halt.js';
import { deadlines, World, type Attempt, type Ended } from '../faults/world.js';
import type { AgentProcess } from '../fleet/index.js';

const moveMs = 90_000;

/** What must hold after each of them. */
function expectWhole(world: World, fault: Fault, ended: Ended): void {
  if (fault.outcome !== 'either') expect(ended.outcome).toBe(fault.outcome);
  expect(ended.mostCopies).toBe(1);
  expect(ended.longestHoldMs).toBeLessThan(deadlines.peerHoldMs + 2_000);
  expect(ended.reason).not.toBe('');
  expect(world.copies()).toHaveLength(1);
}

async function expectWholeStreams(world: World): Promise<void> {
  const { errors, connections, finished } = await world.intact();
  expect(errors).toEqual([]);
  expect(finished).toBe(connections);
}

describe('messages that get lost, come twice, come late', () => {
  let world: World;

  beforeAll(async () => {
    // A lost message of the preparation is waited for until the deadline: nothing is held then, and it may come soon.
    world = await World.make({ config: { deadlines: { ...deadlines, prepareMs: 5_000 } } });
  }, 60_000);

  afterAll(async () => {
    world?.save('others-messages');
    await world?.remove();
  }, 30_000);

  /** All agents anew, with this in their configuration. */
  const restart = async (more: Record<string, unknown>): Promise<void> => {
    const agents = [...world.fleet.agents.values()];
    await Promise.all(
      agents.map(async (agent) => {
        await agent.stop();
        agent.configure(more);
        await agent.start();
      }),
    );
  };

  it.each(noises)(
    '$name',
    async (fault) => {
      await restart({ interference: { seed: fault.seed, ...fault.chances } });
      const ended = await world.attempt(fault, () => Promise.resolve());
      expectWhole(world, fault, ended);
      await restart({});
      await world.moves();
    },
    moveMs,
  );

  it('leaves every stream whole', () => expectWholeStreams(world), 60_000);
});

describe('criu that fails', () => {
  let criu: FailingCriu;
  let world: World;

  beforeAll(async () => {
    criu = new FailingCriu();
    world = await World.make({ config: { criu: criu.path } });
  }, 60_000);

  afterAll(async () => {
    world?.save('others-criu');
    await world?.remove();
    criu?.remove();
  }, 30_000);

  it.each(criuFailures)(
    '$name',
    async (fault) => {
      criu.fail(fault);
      const ended = await world.attempt(fault, () => Promise.resolve()).finally(() => criu.heal(fault));
      expectWhole(world, fault, ended);
      expect(ended.reason).toContain(`criu could not ${fault.action}`);
      await world.moves();
    },
    moveMs,
  );

  it('leaves every stream whole', () => expectWholeStreams(world), 60_000);
});

describe('clocks that are stepped', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.make();
  }, 60_000);

  afterAll(async () => {
    world?.save('others-clock');
    await world?.remove();
  }, 30_000);

  const step = async ({ who, phase, ms }: ClockStep, attempt: Attempt, halt: Halt): Promise<void> => {
    if (!(await halt.reached(attempt.over))) throw new Error(`the ${who} never came to ${phase}`);
    halt.goOn({ clockMs: ms });
  };

  it.each(clockSteps)(
    '$name',
    async (fault) => {
      const { who, phase, ms } = fault;
      const halt = new Halt(world.agentOf(who), { role: who, phase });
      const before = lastTold(halt.agent);
      const ended = await world
        .attempt(fault, (attempt) => step(fault, attempt, halt))
        .finally(() => halt.disarm());
      expectWhole(world, fault, ended);
      // It was this clock, and it was stepped.
      expect(Math.abs(lastTold(halt.agent) - before - ms)).toBeLessThan(moveMs);
      await world.moves();
    },
    moveMs,
  );

  it('leaves every stream whole', () => expectWholeStreams(world), 60_000);
});

/** When an agent has written the last line of its log, by its own clock; ms since the epoch. */
function lastTold(agent: AgentProcess): number {
  const { time } = JSON.parse(agent.lastWords(1)) as { time: string };
  return Date.parse(time);
}

describe('disks that are full', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.make();
  }, 60_000);

  afterAll(async () => {
    world?.save('others-disk');
    await world?.remove();
  }, 30_000);

  /** Of the tmpfs that an agent receives images in. */
  const resize = (agent: AgentProcess, size: string): void => {
    execFileSync('mount', ['-o', `remount,size=${size}`, agent.folders.images]);
  };

  it.each(fullDisks)(
    '$name',
    async (fault) => {
      const agent = world.agentOf(fault.who);
      resize(agent, '256k');
      const ended = await world.attempt(fault, () => Promise.resolve()).finally(() => resize(agent, '50%'));
      expectWhole(world, fault, ended);
      expect(ended.reason).toMatch(/No space left|bytes are to come/);
      // Nothing of the images stays.
      expect(readdirSync(agent.folders.images)).toEqual([]);
      await world.moves();
    },
    moveMs,
  );

  it('leaves every stream whole', () => expectWholeStreams(world), 60_000);
});
