/** What the local API needs of the agent. Errors are ServalErrors; their code decides the HTTP status (api.ts). */
import type {
  FrozenView,
  MigrationRequest,
  PodView,
  ReportView,
  ResolveView,
  ServalMigration,
  ServiceView,
  StatusView,
  SwitchedView,
} from '@serval/api';
import type { FlowStatus } from '../datapath/types.js';
import type { Lazily } from './json-stream.js';
import type { ResolveQuestion } from './services/resolve.js';

export interface AgentFacade {
  status(): Promise<StatusView>;
  /** of one pod (`namespace/name`) or of all. @throws ServalError ERR_NOT_FOUND (pod) */
  flows(pod?: string): Promise<FlowStatus[]>;
  pods(): Promise<PodView[]>;
  /** of all nodes; whoever asks is given the load of replicas too, from the next second on, for 10 s */
  reports(): ReportView[];
  /** of one service (`namespace/name`) or of all, each made when its turn comes. @throws ServalError ERR_NOT_FOUND */
  services(name?: string): Iterable<Lazily<ServiceView>>;
  /** What a connect() would get. @throws ServalError ERR_NOT_FOUND (service, port, pod), ERR_BAD_INPUT (name) */
  resolve(question: ResolveQuestion): Lazily<ResolveView>;
  migrations(): ServalMigration[];
  /** by name, or by migration id */
  migration(nameOrId: string): ServalMigration | undefined;
  /** The handler gets each later state of it, and undefined when the object is deleted. Returns what ends it. */
  watchMigration(name: string, handler: (migration: ServalMigration | undefined) => void): () => void;
  /** Create a ServalMigration. @throws ServalError ERR_NOT_FOUND (workload, node), ERR_CONFLICT (it moves already) */
  createMigration(request: MigrationRequest): Promise<ServalMigration>;
  /** Give it up where it is not released yet. @throws ServalError ERR_NOT_FOUND, ERR_CONFLICT (too late, or over) */
  cancelMigration(name: string): Promise<void>;
  /** Mover `external`, at the source's agent: resolves when everything is held. @throws ERR_NOT_FOUND, ERR_CONFLICT */
  freeze(name: string): Promise<FrozenView>;
  /** Mover `external`, at the target's agent: resolves when its flows were switched. @throws as freeze */
  restored(nameOrId: string): Promise<SwitchedView>;
  /** Mover `external`, at either agent: it did not work. @throws as cancelMigration */
  abort(nameOrId: string): Promise<void>;
}
