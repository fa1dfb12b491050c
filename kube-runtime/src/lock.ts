/**
 * One writer at a time for a directory, over all processes that use it. Held for one read and one write: a lock that is
 * seconds old was left by a process that died, and is taken away.
 */
import { randomUUID } from 'node:crypto';
import { link, rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServalError } from '@serval/api';
import { fileError, readIfThere } from './files.js';

const staleMs = 3_000;
const patienceMs = 15_000;

/** @throws ServalError ERR_CONFLICT where others never let go, and what the work throws */
export async function withLock<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  await take(path);
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function take(path: string): Promise<void> {
  const begun = performance.now();
  let seen: { token: string; since: number } | undefined;
  for (;;) {
    if (await tryTake(path)) return;
    const now = performance.now();
    const token = await readIfThere(path);
    if (token !== undefined && seen?.token !== token) seen = { token, since: now };
    // Counted on our own clock: that of the file system may be stepped.
    else if (token !== undefined && seen !== undefined && now - seen.since > staleMs)
      await takeAway(path, token);
    if (now - begun > patienceMs) throw neverFree(path);
    await sleep(1 + Math.random() * 4);
  }
}

async function tryTake(path: string): Promise<boolean> {
  try {
    await writeFile(path, randomUUID(), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw fileError(path, error);
  }
}

/** Another may have done the same in the meantime, and hold it: then it is put back. */
async function takeAway(path: string, token: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch {
    return; // gone: so much the better
  }
  if ((await readIfThere(aside)) !== token) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

function neverFree(path: string): ServalError {
  return new ServalError('ERR_CONFLICT', {
    subject: path,
    reason: `other processes have held this lock for ${patienceMs / 1000} s`,
    remedy: 'Find out which processes write this directory, and whether they hang',
  });
}
