/** Files that are there whole or not at all. */
import { closeSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { ServalError } from '@serval/api';

/**
 * Writes a file and its directory entry to the disk, under another name first: a reader finds the old content or the new.
 * @throws ServalError ERR_CONFLICT where it exists and `replace` is false
 */
export function writeWhole(path: string, content: string, options: { mode: number; replace: boolean }): void {
  const unfinished = `${path}.${randomBytes(6).toString('hex')}.new`;
  try {
    const file = openSync(unfinished, 'wx', options.mode);
    try {
      writeSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    if (options.replace) renameSync(unfinished, path);
    // A link fails where the name is taken, which a rename would not.
    else linkSync(unfinished, path);
    syncFolder(dirname(path));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    throw existsAlready(path);
  } finally {
    rmSync(unfinished, { force: true });
  }
}

export function existsAlready(path: string): ServalError {
  return new ServalError('ERR_CONFLICT', {
    subject: path,
    reason: 'it exists already',
    remedy: 'Ask for it to be replaced, or use another folder',
  });
}

export function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
