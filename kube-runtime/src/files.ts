/** Whole files, written so that a reader finds the old one or the new one, whatever dies meanwhile. */
import { readFileSync, statSync, type Stats } from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ServalError } from '@serval/api';

let temporaryFiles = 0;

/** @throws ServalError ERR_NO_SPACE, ERR_NO_PERMISSION, ERR_KERNEL */
export async function writeWhole(path: string, text: string): Promise<void> {
  const temporary = `${dirname(path)}/.${process.pid}-${++temporaryFiles}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o644);
    try {
      await file.writeFile(text);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw fileError(path, error);
  }
}

/** Undefined where there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fileError(path, error);
  }
}

export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    throw fileError(path, error);
  }
}

/**
 * Changes whenever the file does; undefined where there is none. Everybody waits: 1.2 us of a processor, where not waiting
 * takes 6 at best, and thousands are looked at. On a file system that hangs that would help nobody: Node has four threads for files.
 */
export function signatureOf(path: string): string | undefined {
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    return found && signature(found);
  } catch (error) {
    throw fileError(path, error);
  }
}

/** As `readIfThere`, while everybody waits: 5 us of a processor where that takes 160. */
export function readNow(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fileError(path, error);
  }
}

/** Times are numbers of 0.25 microseconds here, finer than the clocks of file systems tick. */
function signature({ ino, size, mtimeMs, ctimeMs }: Stats): string {
  // Joined it is one text of 80 bytes; put together by `+` it would be a chain of 300, for each of 20,000 files.
  return [size, ino, mtimeMs, ctimeMs].join(' ');
}

/** By its signature. */
export function isEmpty(signatureOfIt: string): boolean {
  return signatureOfIt.startsWith('0 ');
}

const meanings: Record<string, ['ERR_NO_SPACE' | 'ERR_NO_PERMISSION' | 'ERR_BAD_INPUT', string, string]> = {
  ENOSPC: ['ERR_NO_SPACE', 'the disk is full', 'Free some space; it is tried again with the next change'],
  EDQUOT: ['ERR_NO_SPACE', 'the quota is used up', 'Free some space, or raise the quota'],
  EACCES: ['ERR_NO_PERMISSION', 'it may not be used', 'Give the user of this process access to it'],
  EPERM: ['ERR_NO_PERMISSION', 'it may not be used', 'Give the user of this process access to it'],
  EROFS: ['ERR_NO_PERMISSION', 'its file system is read-only', 'Choose another folder, or mount it writable'],
  ENOTDIR: ['ERR_BAD_INPUT', 'part of its path is no folder', 'Choose another path'],
};

export function fileError(path: string, error: unknown): ServalError {
  if (error instanceof ServalError) return error;
  const { code = '', message } = error as NodeJS.ErrnoException;
  const [kind, reason, remedy] = meanings[code] ?? [
    'ERR_KERNEL' as const,
    message,
    'See the system log for what is wrong with this disk or folder',
  ];
  return new ServalError(kind, { subject: path, reason, remedy, cause: error });
}
