/** What the benches use: a data centre in namespaces, agents on its hosts, loads that are watched; Kubernetes' programs. */
export { createLab, type Lab, type Pod } from './lab/index.js';
export { cgroupPrefix } from './lab/state.js';
export { AgentProcess, ApiRoad, ask, Fleet, labAgent, type FleetOptions } from './fleet/index.js';
export { issueCertificate, makeAuthority } from './fleet/index.js';
export * from './cluster/index.js';
export { readMove, type Move } from './demo/move.js';
export { LoadProcess } from './demo/load/process.js';
export type { ConnectionMix } from './demo/load/protocol.js';
