/** A client in a pod: programs/connects.c, asked by lines. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { Asked } from './asked.js';
import type { World } from './world.js';

export interface Latency {
  /** connections that were made */
  count: number;
  /** what connect() took, microseconds */
  median: number;
  mean: number;
  p99: number;
}

/** Attempts that begin at a steady rate. */
export interface Paced {
  attempts: number;
  /** refused, unreachable, or given up */
  failed: number;
  /** took longer than was asked about */
  over: number;
  /** of connect(), also where it failed; ms */
  medianMs: number;
  slowestMs: number;
}

let lists = 0;
/** So many of all targets tell when it is time to ask the rest: asking 10,000 at once would add to what is measured. */
const someTargets = 100;

export class Connector {
  private constructor(private readonly client: Asked) {}

  /**
   * Resolves when it is ready; it has connected to nobody then.
   * @param targets `address:port`
   * @param cpu it stays there; without, anywhere
   */
  static async start(
    { workspace, program }: World,
    pod: string,
    targets: readonly string[],
    cpu?: number,
  ): Promise<Connector> {
    const file = join(workspace.folder, `targets-${lists++}`);
    writeFileSync(file, `${targets.join('\n')}\n`);
    const command = [program, 'client', file];
    return new Connector(await Asked.start(workspace, pod, command, `client in ${pod}`, cpu));
  }

  /** One connection after the other for so long. */
  async latency(ms: number): Promise<Latency> {
    const [count = NaN, median = NaN, mean = NaN, p99 = NaN] = await this.ask(`latency ${ms}`);
    return { count, median, mean, p99 };
  }

  /** Connections per second that so many threads make together. */
  async rate(ms: number, threads: number): Promise<number> {
    const [count = NaN, seconds = NaN] = await this.ask(`rate ${ms} ${threads}`);
    return count / seconds;
  }

  /**
   * Begins so many attempts per second for `forMs`, whatever became of those before: one that hangs does not hide what others
   * would have met. One is given up after `patienceMs`.
   * @param slowMs those that take longer are counted
   */
  async paced(rate: number, forMs: number, patienceMs: number, slowMs: number): Promise<Paced> {
    const line = `paced ${rate} ${forMs} ${patienceMs} ${slowMs}`;
    const [attempts = NaN, failed = NaN, over = NaN, median = NaN, slowest = NaN] = await this.ask(line);
    return { attempts, failed, over, medianMs: median / 1_000, slowestMs: slowest / 1_000 };
  }

  /**
   * Waits until every target has taken a connection; answers when that was, ms on the clock of `performance`.
   * @throws ServalError where one never does
   */
  async everyTarget(count: number, patienceMs: number): Promise<number> {
    const seconds = Math.ceil(patienceMs / 1000);
    const step = Math.max(1, Math.floor(count / someTargets));
    const [some = NaN] = await this.ask(`every ${step} ${seconds}`);
    const [all = NaN, late = NaN] = await this.ask(`every 1 ${seconds}`);
    return onOurClock(late > 0 ? all : some);
  }

  /** Connects to the first target until a replica with this mark answers; when that was, ms on the clock of `performance`. */
  async reaches(mss: number, patienceMs: number): Promise<number> {
    const [time = NaN] = await this.ask(`reach ${mss} ${Math.ceil(patienceMs / 1000)}`);
    return onOurClock(time);
  }

  close(): Promise<void> {
    return this.client.close();
  }

  private async ask(line: string): Promise<number[]> {
    const words = (await this.client.ask(line)).split(' ');
    if (words[0] !== 'never') return words.map(Number);
    throw new ServalError('ERR_TIMEOUT', {
      subject: words[1] === undefined ? 'the changed endpoint' : `service ${words[1]}`,
      reason: 'no client reaches it in time',
      remedy: 'Look at the rules of its node; try with fewer services',
    });
  }
}

/** Both clocks are CLOCK_MONOTONIC. */
function onOurClock(nanoseconds: number): number {
  return nanoseconds / 1e6 - (Number(process.hrtime.bigint()) / 1e6 - performance.now());
}
