/** Kubernetes' own programs: scripts/build-kubernetes.mjs builds them once. */
import { spawnSync } from 'node:child_process';
import { ServalError } from '@serval/api';
import { run } from '../lab/processes.js';

const script = new URL('../../../scripts/build-kubernetes.mjs', import.meta.url).pathname;

export type KubernetesProgram =
  'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler' | 'kube-proxy' | 'kubectl' | 'kubelet';

export interface Binaries {
  folder: string;
  version: string;
}

/**
 * Those that are there, or built now, which takes minutes.
 * @param progress is told when something is built
 * @throws ServalError ERR_NOT_FOUND saying what is missing
 */
export async function kubernetesBinaries(
  names: readonly KubernetesProgram[],
  progress: (line: string) => void,
): Promise<Binaries> {
  const wanted = ['--only', names.join(',')];
  const found = spawnSync(process.execPath, [script, ...wanted, '--find'], { encoding: 'utf8' });
  if (found.status === 0) return binaries(found.stdout);
  progress(`building ${names.join(' and ')}, which takes minutes, once`);
  try {
    return binaries((await run(process.execPath, [script, ...wanted])).stdout);
  } catch (cause) {
    throw new ServalError('ERR_NOT_FOUND', {
      subject: names.join(', '),
      reason: `it can not be built: ${reasonOf(cause)}`,
      remedy: `Do as it says, then: node scripts/build-kubernetes.mjs ${wanted.join(' ')}`,
      cause,
    });
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof ServalError ? cause.reason : (cause as Error).message;
}

/** The last line of its output is the folder, which is named by the version. */
function binaries(output: string): Binaries {
  const folder = output.trim().split('\n').at(-1) ?? '';
  return { folder, version: folder.split('/').at(-1) ?? '' };
}
