/** Agents on the hosts of a lab. */
export { Fleet, type FleetOptions } from './fleet.js';
export { AgentProcess } from './agent-process.js';
export { ask } from './local-api.js';
