/** One flow at full speed into a real iperf3 server. iperf3 itself tells its rate ten times a second: the kernel is asked instead. */
import type { Load, Observation, RunningLoad } from '../load.js';
import type { MoveTimes } from '../move-times.js';
import { longestStandstill, recoveryMs } from '../samples.js';
import { clientHosts, python, type Stage } from '../stage.js';
import type { Watched } from '../watched.js';

const program = new URL('../../../src/migration/programs/acknowledged.py', import.meta.url).pathname;
const port = 5201;
const longestSeconds = '86400';
/** So much later everything that is measured about a move is over. */
const afterMs = 500;

export const iperf3: Load = {
  name: 'iperf3',
  connections: 1,
  working: 1,
  checksBytes: false,
  async start(stage) {
    await stage.startWorkload(['iperf3', '-s', '-p', String(port)], port);
    return Running.start(stage);
  },
};

class Running implements RunningLoad {
  private over = false;

  private constructor(
    private readonly client: Watched,
    private readonly meter: Watched,
  ) {}

  static async start(stage: Stage): Promise<Running> {
    const pod = await stage.clientPod(clientHosts[0]);
    const target = ['-c', stage.address, '-p', String(port)];
    const client = stage.watch(pod, ['iperf3', ...target, '-t', longestSeconds, '-i', '0']);
    const meter = stage.watch(pod, [python, program, String(port)]);
    await meter.said((lines) => Number(lines.at(-1)?.split(' ')[1]) > 1 << 20);
    return new Running(client, meter);
  }

  begin(): Promise<void> {
    this.meter.take();
    return Promise.resolve();
  }

  async end(move: MoveTimes): Promise<Observation> {
    const samples = (): number => Date.now() - move.resumedAt;
    while (samples() < afterMs) await new Promise((resolve) => setTimeout(resolve, 10));
    const progressed = this.meter.take().map((line) => {
      const [at = 0, bytes = 0] = line.split(' ').map(Number);
      return { at, bytes };
    });
    const closed = !this.over && this.client.ended;
    this.over = this.client.ended;
    return {
      gapOverFreezeMs: longestStandstill(progressed, move.frozenAt - 100) - move.freezeMs,
      resets: closed ? 1 : 0,
      wrongBytes: 0,
      recoveryMs: recoveryMs(progressed, move),
    };
  }
}
