/** What each command of a cluster gets. */
import { exitCode, type Surroundings } from '../surroundings.js';
import type { AgentRelay } from './agents.js';
import type { Cluster } from './cluster.js';

export interface Session {
  cluster: Cluster;
  agents: AgentRelay;
  around: Surroundings;
  /** -A */
  allNamespaces: boolean;
  /** -n was given, not only the context's */
  isNamespaceGiven: boolean;
}

/** The namespace to list in; undefined: all. */
export function scopeOf({ cluster, allNamespaces }: Session): string | undefined {
  return allNamespaces ? undefined : cluster.namespace;
}

/** In words where nothing was found. */
export function scopeText(session: Session): string {
  const scope = scopeOf(session);
  return scope === undefined ? 'in any namespace' : `in namespace ${scope} (see -A for all)`;
}

/** Runs until Ctrl-C; returns the exit code. */
export async function untilInterrupted(
  { around }: Session,
  run: (signal: AbortSignal) => Promise<void>,
): Promise<number> {
  const interrupt = new AbortController();
  const heard = around.onInterrupt?.(() => interrupt.abort());
  try {
    await run(interrupt.signal);
    return exitCode.done;
  } finally {
    heard?.();
  }
}
