/**
 * Connections that are opened all the time, so that one is always opened during the freeze. They ask for the address that
 * the workload has now: nobody finds it at an earlier one. Their pod has flows of the workload: a node that has none is no
 * peer of the move, and is told nothing.
 */
import type { Pod } from '@serval/e2e';
import type { MoveTimes } from '../move-times.js';
import { newcomerMs, type Wait } from '../samples.js';
import { python, type Stage } from '../stage.js';
import type { Watched } from '../watched.js';

const program = new URL('../../../src/migration/programs/newcomers.py', import.meta.url).pathname;

export class Newcomers {
  private watched: Watched | undefined;

  constructor(
    private readonly stage: Stage,
    private readonly pod: Pod,
    private readonly port: number,
  ) {}

  async begin(): Promise<void> {
    this.watched = this.stage.watch(this.pod, [python, program, this.stage.location, String(this.port)]);
    await this.watched.said((lines) => lines.some((line) => line.includes(' ')));
  }

  /** How long those waited that were opened before the workload ran again; Infinity where they still do. */
  end(move: MoveTimes): number {
    const lines = this.watched?.take() ?? [];
    void this.watched?.kill();
    return newcomerMs(waitsOf(lines), move) ?? Infinity;
  }
}

/** The last one may still wait: for ever, as far as is known. */
function waitsOf(lines: readonly string[]): Wait[] {
  const told = lines.map((line) => line.split(' ').map(Number));
  const waits = told.flatMap(([begun = 0, ended]) => (ended === undefined ? [] : [{ begun, ended }]));
  const [last = 0, ended] = told.at(-1) ?? [];
  return ended === undefined ? [...waits, { begun: last, ended: Infinity }] : waits;
}
