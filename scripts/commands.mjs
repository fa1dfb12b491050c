/** What the scripts that install and build have in common. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

export const root = new URL('..', import.meta.url).pathname;
export const at = (...parts) => join(root, ...parts);

/** What somebody has to do first; for people, without a stack. */
export class Unable extends Error {}

/** What it printed. @throws Unable with the last of what it said, where it fails */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20, ...options });
  if (result.error)
    throw new Unable(
      `${command} can not be started (${result.error.message}). Install it and run this again.`,
    );
  if (result.status !== 0) {
    const tail = `${result.stdout ?? ''}${result.stderr ?? ''}`.trim().split('\n').slice(-25).join('\n');
    throw new Unable(
      `\`${command} ${args.join(' ')}\` failed with status ${result.status ?? result.signal}:\n${tail}`,
    );
  }
  return result.stdout;
}

/** Newest modification time below these files and folders, ms; files that a build makes don't count. */
function newest(...paths) {
  let latest = 0;
  for (const path of paths) {
    const found = statSync(path);
    if (!found.isDirectory()) latest = Math.max(latest, found.mtimeMs);
    else
      for (const name of readdirSync(path))
        if (!['build', 'dist', 'node_modules'].includes(name))
          latest = Math.max(latest, newest(join(path, name)));
  }
  return latest;
}

/** Whether a file has to be made anew of these. */
export const isOlder = (target, ...sources) =>
  !existsSync(target) || statSync(target).mtimeMs < newest(...sources);
