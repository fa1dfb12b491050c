/** The images, as scripts/build-images.mjs leaves them in the user's cache. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { run } from '../lab/processes.js';

const script = new URL('../../../scripts/build-images.mjs', import.meta.url).pathname;

export interface Image {
  name: 'operator' | 'agent';
  /** its files; nobody writes there */
  rootfs: string;
  config: { User: string; Entrypoint: string[]; Env: string[]; Labels: Record<string, string> };
}

/**
 * Those of the sources as they are, or built now, which takes minutes.
 * @param progress is told when they are built
 * @throws ServalError ERR_NOT_FOUND saying why they can not be
 */
export async function builtImages(progress: (line: string) => void): Promise<Record<Image['name'], Image>> {
  const found = spawnSync(process.execPath, [script, '--find'], { encoding: 'utf8' });
  const text = found.status === 0 ? found.stdout : await build(progress);
  const folder = text.trim().split('\n').at(-1) ?? '';
  return { operator: read(folder, 'operator'), agent: read(folder, 'agent') };
}

async function build(progress: (line: string) => void): Promise<string> {
  progress('building the images, which takes minutes, once for these sources');
  try {
    return (await run(process.execPath, [script])).stdout;
  } catch (cause) {
    throw new ServalError('ERR_NOT_FOUND', {
      subject: 'images',
      reason: `they can not be built: ${cause instanceof ServalError ? cause.reason : String(cause)}`,
      remedy: 'Do as it says, then: node scripts/build-images.mjs',
      cause,
    });
  }
}

function read(folder: string, name: Image['name']): Image {
  const config = JSON.parse(readFileSync(join(folder, name, 'config.json'), 'utf8')) as Image['config'];
  return { name, rootfs: join(folder, name, 'rootfs'), config };
}
