/** Agents on the hosts of a lab. */
export { Fleet, type FleetOptions } from './fleet.js';
export { AgentProcess, servald } from './agent-process.js';
export { ask } from './local-api.js';
export { LabService, type ReplicaOf } from './services.js';
export { KubeFleet, type KubeFleetOptions } from './kube-fleet.js';
export { issueCertificate, makeAuthority } from './certificates.js';
export { labAgent, metricsPort, signallingPort, type LabAgentOptions } from './lab-agent.js';
export { ApiRoad } from './api-road.js';
export { KubeScene } from './kube-scene.js';
export { dataPlane, type DataPlane } from './data-plane.js';
