/** Kubernetes' own programs: scripts/build-kubernetes.mjs builds them once. */
import { spawnSync } from 'node:child_process';
import { ServalError } from '@serval/api';
import type { Progress } from '../../bench.js';
import { run } from '../../shell.js';

const script = new URL('../../../../scripts/build-kubernetes.mjs', import.meta.url).pathname;
const wanted = ['--only', 'kube-proxy,kube-apiserver'];

export interface Binaries {
  folder: string;
  version: string;
}

/** Those that are there, or built now. @throws ServalError saying what is missing */
export async function kubernetesBinaries(progress: Progress): Promise<Binaries> {
  const found = spawnSync(process.execPath, [script, ...wanted, '--find'], { encoding: 'utf8' });
  if (found.status === 0) return binaries(found.stdout);
  progress('building kube-apiserver and kube-proxy, which takes minutes, once');
  try {
    return binaries(await run([process.execPath, script, ...wanted]));
  } catch (cause) {
    throw new ServalError('ERR_NOT_FOUND', {
      subject: 'kube-proxy',
      reason: `it can not be built: ${(cause as Error).message}`,
      remedy: 'Do as it says, or compare with rules of the same shape: --peers shape',
      cause,
    });
  }
}

function binaries(output: string): Binaries {
  const folder = output.trim().split('\n').at(-1) ?? '';
  return { folder, version: folder.split('/').at(-1) ?? '' };
}
