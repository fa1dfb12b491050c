/** Moves that something else goes wrong in than an agent's or a host's end (faults-kill, faults-cut). */
import { expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  clockSteps,
  criuFailures,
  fullDisks,
  fullStateDisks,
  noises,
  type ClockStep,
  type FullStateDisk,
} from '../faults/catalogue.js';
import { FailingCriu } from '../faults/failing-criu.js';
import { Halt } from '../faults/halt.js';
import { deadlines, type Attempt, type World } from '../faults/world.js';
import type { AgentProcess } from '../fleet/index.js';
import { expectWhole, faultMs, inWorld } from './faults-world.js';

/** All agents anew, with this in their configuration. */
async function restart({ fleet }: World, more: Record<string, unknown>): Promise<void> {
  await Promise.all(
    [...fleet.agents.values()].map(async (agent) => {
      await agent.stop();
      agent.configure(more);
      await agent.start();
    }),
  );
}

inWorld(
  {
    title: 'messages that get lost, come twice, come late',
    saveAs: 'others-messages',
    // A lost message of the preparation is waited for until the deadline: nothing is held then, and it may come soon.
    options: () => ({ config: { deadlines: { ...deadlines, prepareMs: 5_000 } } }),
  },
  (made) =>
    it.each(noises)(
      '$name',
      async (fault) => {
        const world = made();
        await restart(world, { interference: { seed: fault.seed, ...fault.chances } });
        const ended = await world.attempt(fault, () => Promise.resolve());
        expectWhole(world, fault, ended);
        await restart(world, {});
        await world.moves();
      },
      faultMs,
    ),
);

let criu: FailingCriu | undefined;

inWorld(
  {
    title: 'criu that fails',
    saveAs: 'others-criu',
    options: () => {
      criu = new FailingCriu();
      return { config: { criu: criu.path } };
    },
    end: () => criu?.remove(),
  },
  (made) =>
    it.each(criuFailures)(
      '$name',
      async (fault) => {
        const world = made();
        criu?.fail(fault);
        const ended = await world.attempt(fault, () => Promise.resolve()).finally(() => criu?.heal(fault));
        expectWhole(world, fault, ended);
        expect(ended.reason).toContain(`criu could not ${fault.action}`);
        await world.moves();
      },
      faultMs,
    ),
);

async function step({ who, phase, ms }: ClockStep, attempt: Attempt, halt: Halt): Promise<void> {
  if (!(await halt.reached(attempt.over))) throw new Error(`the ${who} never came to ${phase}`);
  halt.goOn({ clockMs: ms });
}

/** When an agent has written the last line of its log, by its own clock; ms since the epoch. */
function lastTold(agent: AgentProcess): number {
  const { time } = JSON.parse(agent.lastWords(1)) as { time: string };
  return Date.parse(time);
}

inWorld({ title: 'clocks that are stepped', saveAs: 'others-clock' }, (made) =>
  it.each(clockSteps)(
    '$name',
    async (fault) => {
      const world = made();
      const { who, phase, ms } = fault;
      const halt = new Halt(world.agentOf(who), { role: who, phase });
      const before = lastTold(halt.agent);
      const ended = await world
        .attempt(fault, (attempt) => step(fault, attempt, halt))
        .finally(() => halt.disarm());
      expectWhole(world, fault, ended);
      // It was this clock, and it was stepped.
      expect(Math.abs(lastTold(halt.agent) - before - ms)).toBeLessThan(faultMs);
      await world.moves();
    },
    faultMs,
  ),
);

/** Of the tmpfs that an agent receives images in. */
function resize(agent: AgentProcess, size: string): void {
  execFileSync('mount', ['-o', `remount,size=${size}`, agent.folders.images]);
}

inWorld({ title: 'disks that are full', saveAs: 'others-disk' }, (made) =>
  it.each(fullDisks)(
    '$name',
    async (fault) => {
      const world = made();
      const agent = world.agentOf(fault.who);
      resize(agent, '256k');
      const ended = await world.attempt(fault, () => Promise.resolve()).finally(() => resize(agent, '50%'));
      expectWhole(world, fault, ended);
      expect(ended.reason).toMatch(/No space left|bytes are to come/);
      // Nothing of the images stays.
      expect(readdirSync(agent.folders.images)).toEqual([]);
      await world.moves();
    },
    faultMs,
  ),
);

/** Until it is emptied again. The agent may write at the same time: then there is less room. */
function fill(folder: string): void {
  const { bavail, bsize } = statfsSync(folder);
  for (let left = bavail * bsize; left > 0; left -= bsize)
    try {
      writeFileSync(join(folder, 'ballast'), Buffer.alloc(left));
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
}

async function filled(
  { who, phase, ms = Infinity }: FullStateDisk,
  attempt: Attempt,
  halt: Halt,
): Promise<void> {
  const { state } = halt.agent.folders;
  if (phase !== undefined) {
    if (!(await halt.reached(attempt.over))) throw new Error(`the ${who} never came to ${phase}`);
    fill(state);
    halt.goOn();
  }
  const until = performance.now() + ms;
  while (!attempt.over() && performance.now() < until) await delay(10);
  rmSync(join(state, 'ballast'));
}

inWorld(
  {
    title: 'disks that agents can not write their state to',
    saveAs: 'others-state-disk',
    options: () => ({ stateDisks: true, config: { deadlines: { ...deadlines, prepareMs: 5_000 } } }),
  },
  (made) =>
    it.each(fullStateDisks)(
      '$name',
      async (fault) => {
        const world = made();
        const { who, phase } = fault;
        const halt = new Halt(world.agentOf(who), { role: who, phase });
        if (phase === undefined) {
          halt.disarm();
          fill(halt.agent.folders.state);
        }
        const ended = await world
          .attempt(fault, (attempt) => filled(fault, attempt, halt))
          .finally(() => halt.disarm());
        expectWhole(world, fault, ended);
        await world.moves();
      },
      faultMs,
    ),
);
