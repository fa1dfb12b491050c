/** Halts an agent at a step (halt-hook.ts): what a test says between `reached` and `goOn` happens exactly there. */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { AgentProcess } from '../fleet/index.js';

/**
 * When a phase is entered, when a record of a role was written for the nth time since it was armed, or when the disk has been
 * taking so long for that, and has nothing yet, that all that does not wait for it was done.
 */
export interface HaltStep {
  id: string;
  role?: string | undefined;
  phase?: string | undefined;
  written?: string | undefined;
  unwritten?: string | undefined;
  nth?: number | undefined;
}

export interface Orders {
  /** turn the clock by so much */
  clockMs?: number;
}

const hook = new URL('../../dist/faults/halt-hook.js', import.meta.url).href;

/** Environment of agents that can be halted. */
export const haltable = { NODE_OPTIONS: `--import=${hook}` };

let count = 0;

export class Halt {
  private readonly folder: string;
  private readonly steps: HaltStep[];

  constructor(
    readonly agent: AgentProcess,
    ...steps: Array<Omit<HaltStep, 'id'>>
  ) {
    this.folder = join(agent.folders.home, 'halt');
    this.steps = steps.map((step) => ({ id: `step-${++count}`, ...step }));
    mkdirSync(this.folder, { recursive: true });
    this.put('armed.json', this.steps);
  }

  /** False where `over` came true before it: the step was never taken. */
  async reached(over: () => boolean, index = 0): Promise<boolean> {
    const file = join(this.folder, `${this.steps[index]?.id}.reached`);
    while (!existsSync(file)) {
      if (over()) return false;
      await delay(1);
    }
    return true;
  }

  goOn(orders: Orders = {}, index = 0): void {
    this.put(`${this.steps[index]?.id}.orders`, orders);
  }

  disarm(): void {
    rmSync(join(this.folder, 'armed.json'), { force: true });
    this.steps.forEach((_, index) => this.goOn({}, index));
  }

  private put(name: string, value: unknown): void {
    writeFileSync(join(this.folder, `${name}.new`), JSON.stringify(value));
    renameSync(join(this.folder, `${name}.new`), join(this.folder, name));
  }
}
