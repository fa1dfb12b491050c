/** /proc/sys, which container runtimes give read-only to whoever isn't privileged. */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { promisify } from 'node:util';
import { ServalError } from '@serval/api';

const run = promisify(execFile);
const settings = '/proc/sys';
/** Every kernel has it, and root may write it. */
const example = '/proc/sys/kernel/hostname';

/**
 * Makes it writable in this process's mount namespace, where it isn't: a moved pod's stack is prepared there, by programs that
 * we start, and CRIU asks for it. Whoever may enter pods' namespaces may do this too.
 * @throws ServalError ERR_NO_PERMISSION
 */
export async function openKernelSettings(): Promise<void> {
  if (!isReadOnly(example)) return;
  try {
    await run('mount', ['-o', 'remount,bind,rw', settings]);
  } catch (cause) {
    throw new ServalError('ERR_NO_PERMISSION', {
      subject: settings,
      reason: `it is read-only, and can not be made writable (${(cause as Error).message.trim()})`,
      remedy: 'Give the agent CAP_SYS_ADMIN and no AppArmor profile, as the chart does',
      cause,
    });
  }
}

/** A file system's own word: rights are another matter. */
function isReadOnly(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EROFS';
  }
}
