/** A real Kubernetes control plane for tests: see control-plane.ts for what it can do. */
export { kubernetesBinaries, type Binaries, type KubernetesProgram } from './binaries.js';
export { ControlPlane, type ControlPlaneOptions } from './control-plane.js';
export { accountKeyOptions } from './account-keys.js';
export { etcdCommand } from './etcd.js';
export { askKube, requestKube, type KubeAnswer, type Method } from './request.js';
export { requestsSince, type RequestCounts } from './request-counts.js';
export type { KubeUser } from './kubeconfig.js';
export { accountKubeconfig } from './account-client.js';
export { chart, Helm } from './helm.js';
export { AgentsProcess } from './agents-process.js';
export { installCrds } from './crds.js';
export { makeRuntimeClass } from './runtime-class.js';
export { count, inParallel } from './in-parallel.js';
export { OperatorProcess, sumOf, type Metrics } from './operator-process.js';
export { lists, makeServices, outage, type OutageOptions, type OutageResult } from './outage.js';
export { within } from './within.js';
export { createMigration, deleteMigration, readMigration } from './migration-objects.js';
