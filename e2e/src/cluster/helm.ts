/** Helm, as scripts/build-helm.mjs has built it, with the project's chart. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ServalError } from '@serval/api';

const script = new URL('../../../scripts/build-helm.mjs', import.meta.url).pathname;
export const chart = new URL('../../../charts/serval', import.meta.url).pathname;

export interface HelmAnswer {
  code: number | null;
  out: string;
  error: string;
}

export class Helm {
  private constructor(readonly program: string) {}

  /** @throws ServalError ERR_NOT_FOUND where it has not been built */
  static find(): Helm {
    const found = spawnSync(process.execPath, [script, '--find'], { encoding: 'utf8' });
    if (found.status === 0) return new Helm(join(found.stdout.trim().split('\n').at(-1) ?? '', 'helm'));
    throw new ServalError('ERR_NOT_FOUND', {
      subject: 'helm',
      reason: found.stderr.trim(),
      remedy: 'Build it: node scripts/build-helm.mjs',
    });
  }

  /** Whatever it answers. Its own files are in a folder that goes with the control plane. */
  ask(args: readonly string[], folder: string, kubeconfig?: string): HelmAnswer {
    const { status, stdout, stderr } = spawnSync(this.program, [...args], {
      encoding: 'utf8',
      env: {
        // What it remembers of an API server is in there, by its address: another one may have that next.
        HOME: folder,
        HELM_CACHE_HOME: join(folder, 'helm'),
        HELM_CONFIG_HOME: join(folder, 'helm'),
        HELM_DATA_HOME: join(folder, 'helm'),
        ...(kubeconfig === undefined ? {} : { KUBECONFIG: kubeconfig }),
      },
    });
    return { code: status, out: stdout, error: stderr };
  }
}
