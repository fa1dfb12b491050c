/** Which migrations a pod, or another migration of the same workload, concerns. What happens to others costs one look-up. */
import { objectName, workloadOf, type ServalMigration } from '@serval/api';

export class MigrationIndex {
  /** by `namespace/name` of a pod: names of migrations from it and to it */
  private readonly byPod = new Map<string, Set<string>>();
  /** by name of a migration: the pods under which it stands */
  private readonly podsOf = new Map<string, string[]>();

  set(migration: ServalMigration): void {
    const key = objectName(migration);
    this.remove(key);
    const pods = podsOf(migration);
    this.podsOf.set(key, pods);
    for (const pod of pods) this.byPod.set(pod, (this.byPod.get(pod) ?? new Set()).add(key));
  }

  remove(key: string): void {
    for (const pod of this.podsOf.get(key) ?? []) {
      const own = this.byPod.get(pod);
      own?.delete(key);
      if (own?.size === 0) this.byPod.delete(pod);
    }
    this.podsOf.delete(key);
  }

  /** @param pod `namespace/name` */
  concerned(pod: string): ReadonlySet<string> {
    return this.byPod.get(pod) ?? nobody;
  }
}

const nobody: ReadonlySet<string> = new Set();

function podsOf(migration: ServalMigration): string[] {
  const { namespace = 'default' } = migration.metadata;
  const target = migration.status?.targetPod;
  return [workloadOf(migration), ...(target === undefined ? [] : [`${namespace}/${target}`])];
}
