/** Redis, with the clients of the demo: every reply, message and pop is checked. */
import { LoadProcess, type ConnectionMix } from '@serval/e2e';
import type { Load, Observation, RunningLoad } from '../load.js';
import type { MoveTimes } from '../move-times.js';
import { clientHosts, type Stage } from '../stage.js';
import { Newcomers } from './newcomers.js';

const port = 6379;
/** So many connections of each client pod work at most; the others are idle. */
const workingEach = 50;
const answerMs = 10_000;

export function redis(connections: number): Load {
  const shares = sharesOf(connections);
  return {
    name: `redis-${connections}`,
    connections,
    working: shares.reduce((sum, share) => sum + Math.min(share, workingEach), 0),
    checksBytes: true,
    async start(stage) {
      const options = ['--save', '', '--appendonly', 'no', '--protected-mode', 'no', '--maxclients', '20000'];
      const listen = ['--port', String(port), '--bind', '0.0.0.0', '::'];
      await stage.startWorkload(['redis-server', ...listen, ...options], port);
      return Running.start(stage, shares);
    },
  };
}

/** One connection is one pod's. */
function sharesOf(connections: number): number[] {
  const half = Math.floor(connections / 2);
  return [connections - half, half].filter((share) => share > 0);
}

/** The publisher comes on top of the mix, and works. */
function mixOf(share: number): Partial<ConnectionMix> {
  const idle = Math.max(0, share - workingEach);
  const [blocked, subscriber] = share >= 10 ? [2, 2] : [0, 0];
  return { idle, blocked, subscriber, pipelined: share - 1 - idle - blocked - subscriber };
}

class Running implements RunningLoad {
  /** of earlier moves */
  private counted = { resets: 0, wrong: 0 };

  private constructor(
    private readonly loads: readonly LoadProcess[],
    private readonly newcomers: Newcomers,
  ) {}

  static async start(stage: Stage, shares: readonly number[]): Promise<Running> {
    const pods = await Promise.all(clientHosts.map((host) => stage.clientPod(host)));
    const loads = await Promise.all(
      shares.map(async (connections, index) => {
        const pod = pods[index] as (typeof pods)[number];
        const load = LoadProcess.start({ label: pod.name, prefix: ['nsenter', `--net=${pod.netns}`] });
        stage.atEnd(() => load.stop(1000));
        const target = { host: stage.address, port, name: pod.name };
        await load.connect({ ...target, connections, mix: mixOf(connections), timeoutMs: 60_000 });
        await load.start();
        return load;
      }),
    );
    return new Running(loads, new Newcomers(stage, pods[0] as (typeof pods)[number], port));
  }

  async begin(): Promise<void> {
    await Promise.all(this.loads.map((load) => load.beginWindow()));
    await this.newcomers.begin();
  }

  async end(move: MoveTimes): Promise<Observation> {
    const windows = await Promise.all(this.loads.map((load) => load.endWindow()));
    const newcomerMs = this.newcomers.end(move);
    // After the window: thousands of questions at once make everybody wait.
    const checks = await Promise.all(this.loads.map((load) => load.check(answerMs)));
    const dead = checks.reduce((sum, { connections, survived }) => sum + connections - survived, 0);
    const wrong = checks.reduce((sum, check) => sum + check.wrongRepliesTotal, 0);
    const before = this.counted;
    this.counted = { resets: dead, wrong };
    return {
      // From when a request was due: a client's pause between two requests is none of the migration's.
      gapOverFreezeMs: Math.max(...windows.map(({ worstWaitMs }) => worstWaitMs)) - move.freezeMs,
      resets: dead - before.resets,
      wrongBytes: wrong - before.wrong,
      newcomerMs,
    };
  }
}
