/**
 * Where resources are: a directory of YAML files (directory.ts), later Kubernetes. Reads come from memory and are as
 * fresh as the last event; writes go to the place itself and are seen by the next read here. Objects are shared by all
 * readers and frozen: make a new one to change it.
 */
import type { Kind, Kinds } from '@serval/api';

export type ResourceEvent<Name extends Kind> = {
  type: 'added' | 'modified' | 'deleted';
  /** whole; of a deleted one its last state */
  object: Kinds[Name];
};

export type ResourceHandler<Name extends Kind> = (event: ResourceEvent<Name>) => void;

/** `name` is what `objectName` says: `namespace/name` of pods, else `name`. */
export interface ResourceStore {
  list<Name extends Kind>(kind: Name): Array<Kinds[Name]>;
  get<Name extends Kind>(kind: Name, name: string): Kinds[Name] | undefined;
  /** What is there comes as `added` before this returns; then every change, once. Returns what ends it. */
  watch<Name extends Kind>(kind: Name, handler: ResourceHandler<Name>): () => void;
  /**
   * Create it, or replace all of it but its status. Resolves with the object as it is stored.
   * @throws ServalError ERR_BAD_INPUT (invalid), ERR_CONFLICT (the spec is immutable), ERR_NO_SPACE
   */
  apply<Name extends Kind>(object: Kinds[Name]): Promise<Kinds[Name]>;
  /**
   * Change the named fields of its status; what is in a field that is no array or object of its own is replaced, `null`
   * removes it (JSON merge patch).
   * @throws ServalError ERR_NOT_FOUND, ERR_BAD_INPUT (invalid, or a kind without status), ERR_NO_SPACE
   */
  patchStatus<Name extends Kind>(kind: Name, name: string, status: StatusPatch<Name>): Promise<Kinds[Name]>;
  /** False where there is none. */
  delete(kind: Kind, name: string): Promise<boolean>;
  close(): Promise<void>;
}

type Patch<Value> = Value extends readonly unknown[]
  ? Value
  : Value extends object
    ? { [Key in keyof Value]?: Patch<Value[Key]> | null }
    : Value;

/** Of kinds that have a status. */
export type StatusPatch<Name extends Kind> = Kinds[Name] extends { spec: unknown; status?: infer Status }
  ? Patch<NonNullable<Status>>
  : never;

/** Something in a file that can not be used. The last good version, where there is one, stays in use. */
export interface ResourceProblem {
  file: string;
  /** which document of the file, from 1 */
  document?: number;
  /** `spec.address` */
  field?: string;
  reason: string;
  remedy: string;
}
