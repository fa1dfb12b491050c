/** Agents on the hosts of a lab. */
export { Fleet, metricsPort, signallingPort, type FleetOptions } from './fleet.js';
export { AgentProcess, servald } from './agent-process.js';
export { ask } from './local-api.js';
export { LabService, type ReplicaOf } from './services.js';
export { KubeFleet, type KubeFleetOptions } from './kube-fleet.js';
