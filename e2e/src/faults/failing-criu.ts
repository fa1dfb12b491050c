/** A criu that fails when a test wants it to, and is the real one otherwise. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultCriuPath } from '@serval/node-agent';
import type { CriuFailure } from './catalogue.js';

/**
 * Shell alone, no other command: each would take a PID in the pod, and the workload needs its own back. The folder is seen
 * at the same path by pods.
 */
const script = (folder: string, criu: string): string => `#!/bin/sh
if [ -e '${folder}/'"$1"' at once' ]; then
  echo 'Error: told to fail at once' >&2
  exit 1
fi
[ -e '${folder}/'"$1"' at its end' ] || exec '${criu}' "$@"
'${criu}' "$@"
exit 1
`;

export class FailingCriu {
  private readonly folder = mkdtempSync(join(tmpdir(), 'serval-failing-criu-'));
  /** for the agents' configuration */
  readonly path = join(this.folder, 'criu');

  constructor() {
    writeFileSync(this.path, script(this.folder, defaultCriuPath()));
    chmodSync(this.path, 0o755);
  }

  fail({ action, when }: CriuFailure): void {
    writeFileSync(join(this.folder, `${action} ${when}`), '');
  }

  heal({ action, when }: CriuFailure): void {
    rmSync(join(this.folder, `${action} ${when}`), { force: true });
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
