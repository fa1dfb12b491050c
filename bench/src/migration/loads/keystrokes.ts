/** Somebody types into an idle connection, as over SSH. */
import type { Load, Observation, RunningLoad } from '../load.js';
import type { MoveTimes } from '../move-times.js';
import { longestBeyondFreeze } from '../samples.js';
import { clientHosts, python, type Stage } from '../stage.js';
import type { Watched } from '../watched.js';
import { Newcomers } from './newcomers.js';

const program = new URL('../../../src/migration/programs/keystrokes.py', import.meta.url).pathname;
const port = 2222;

export const ssh: Load = {
  name: 'ssh',
  connections: 1,
  working: 1,
  checksBytes: true,
  async start(stage) {
    await stage.startWorkload([python, program, 'server', String(port)], port);
    return Running.start(stage);
  },
};

class Running implements RunningLoad {
  private over = false;

  private constructor(
    private readonly typist: Watched,
    private readonly newcomers: Newcomers,
  ) {}

  static async start(stage: Stage): Promise<Running> {
    const pod = await stage.clientPod(clientHosts[0]);
    const typist = stage.watch(pod, [python, program, 'client', stage.address, String(port)]);
    await typist.said((lines) => lines.length > 0);
    return new Running(typist, new Newcomers(stage, pod, port));
  }

  async begin(): Promise<void> {
    this.typist.take();
    await this.newcomers.begin();
  }

  end(move: MoveTimes): Promise<Observation> {
    const echoes = this.typist.take().map((line) => line.split(' ').map(Number));
    const newcomerMs = this.newcomers.end(move);
    const closed = !this.over && this.typist.ended;
    this.over = this.typist.ended;
    const waits = echoes.map(([begun = 0, ended = 0]) => ({ begun, ended }));
    // Echoes that never came are not in the list.
    const silent = !waits.some(({ ended }) => ended > move.resumedAt);
    return Promise.resolve({
      gapOverFreezeMs: silent ? Infinity : longestBeyondFreeze(waits, move),
      resets: closed ? 1 : 0,
      wrongBytes: echoes.filter(([, , right]) => right !== 1).length,
      newcomerMs,
    });
  }
}
