/** What the suites of faults have in common: a world for each group of them, and what must hold after each fault. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Fault } from '../faults/catalogue.js';
import { deadlines, World, type Ended } from '../faults/world.js';
import type { FleetOptions } from '../fleet/index.js';

/** For one fault and the undisturbed move after it. */
export const faultMs = 90_000;

export interface Group {
  title: string;
  /** under which what came of it is saved, for docs/reliability.md */
  saveAs: string;
  /** called when the world is made */
  options?: () => FleetOptions;
  /** called when it is gone */
  end?: () => void;
}

/** A workload has moved too often for the protocol after 32 moves: so each group has a world of its own. */
export function inWorld(
  { title, saveAs, options = () => ({}), end }: Group,
  tests: (world: () => World) => void,
): void {
  describe(title, () => {
    let world: World | undefined;
    const made = (): World => world as World;

    beforeAll(async () => {
      world = await World.make(options());
    }, 60_000);

    afterAll(async () => {
      world?.save(saveAs);
      await world?.remove();
      end?.();
    }, 30_000);

    tests(made);

    it('leaves every stream whole', async () => {
      const { errors, connections, finished } = await made().intact();
      expect(errors).toEqual([]);
      expect(finished).toBe(connections);
    }, 60_000);
  });
}

/** @param beyondMs so much longer than the peers' deadline something may have been seen held */
export function expectWhole(world: World, fault: Fault, ended: Ended, beyondMs = 2_000): void {
  if (fault.outcome !== 'either') expect(ended.outcome).toBe(fault.outcome);
  expect(ended.copies).toHaveLength(1);
  expect(ended.longestHoldMs).toBeLessThan(deadlines.peerHoldMs + beyondMs);
  expect(ended.reason).not.toBe('');
  expect(world.copies()).toHaveLength(1);
}
