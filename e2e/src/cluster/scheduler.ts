/** The scheduler: how it is started, and when it can be relied on. */
import { request } from 'node:https';
import type { Daemons } from './daemons.js';
import { loopback, onFreePorts } from './ports.js';

export interface SchedulerSetup {
  /** the program */
  program: string;
  kubeconfig: string;
}

/** Resolves when it is ready. @throws ServalError as Daemon.ready does */
export async function startScheduler(
  daemons: Daemons,
  { program, kubeconfig }: SchedulerSetup,
): Promise<void> {
  await onFreePorts(1, async ([port = 0]) => {
    const daemon = daemons.start('kube-scheduler', [
      program,
      `--kubeconfig=${kubeconfig}`,
      `--bind-address=${loopback}`,
      `--secure-port=${port}`,
      '--leader-elect=false',
    ]);
    await daemon.ready((signal) => readyAt(port, signal));
  });
}

/** Its certificate is one that it has made itself. */
function readyAt(port: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const url = `https://${loopback}:${port}/readyz`;
    const asked = request(url, { rejectUnauthorized: false, agent: false, signal }, (response) => {
      response.resume();
      if (response.statusCode === 200) resolve();
      else reject(new Error(`it answers ${response.statusCode}`));
    });
    asked.on('error', reject).end();
  });
}
