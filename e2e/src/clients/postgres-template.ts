/**
 * A database cluster as initdb leaves it, made once per version and machine: that takes seconds, to copy it some tenths
 * of one.
 */
import { existsSync, mkdtempSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, tool } from '../lab/processes.js';
import { environment, present } from './programs.js';

/** PostgreSQL refuses to run as root. */
export const asNobody = ['--reuid=nobody', '--regid=nogroup', '--clear-groups'];

/** The folder of the newest PostgreSQL's programs. Debian has one for each version. */
export function postgresPrograms(): string {
  const versions = '/usr/lib/postgresql';
  const found = existsSync(versions)
    ? readdirSync(versions)
        .filter((version) => existsSync(join(versions, version, 'bin/initdb')))
        .sort((a, b) => Number(b) - Number(a))
    : [];
  return present(join(versions, found[0] ?? 'VERSION', 'bin'));
}

let making: Promise<string> | undefined;

/** @returns its folder; only to copy from */
export function postgresTemplate(): Promise<string> {
  making ??= template();
  return making;
}

async function template(): Promise<string> {
  const initdb = join(postgresPrograms(), 'initdb');
  const { stdout } = await run(initdb, ['--version'], {});
  const version = /\d+(\.\d+)?/.exec(stdout)?.[0] ?? 'unknown';
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'serval');
  const folder = join(cache, `postgresql-${version}`);
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(tmpdir(), 'serval-initdb-')); // where nobody may go, which the cache need not be
  const copy = mkdtempSync(join(cache, 'postgresql-new-'));
  try {
    await run(tool('chown'), ['nobody:nogroup', work], {});
    await run(tool('setpriv'), [...asNobody, initdb, ...initdbArguments(join(work, 'data'))], {
      env: environment,
      cwd: '/',
    });
    await run(tool('cp'), ['-a', join(work, 'data'), join(copy, 'data')], {});
    moveInto(folder, join(copy, 'data'));
  } finally {
    rmSync(work, { recursive: true, force: true });
    rmSync(copy, { recursive: true, force: true });
  }
  return folder;
}

function initdbArguments(folder: string): string[] {
  const small = ['--wal-segsize=1', '--no-sync', '--no-instructions'];
  const open = ['--auth=trust', '--username=postgres', '--encoding=UTF8', '--locale=C'];
  return ['-D', folder, ...small, ...open];
}

function moveInto(folder: string, made: string): void {
  try {
    renameSync(made, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error; // somebody else made it meanwhile
  }
}
