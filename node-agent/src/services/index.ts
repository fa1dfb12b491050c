/** Replica choice as a whole: pure, see types.ts. */
export type * from './types.js';
export { rings } from './types.js';
export { servicePoints, serviceName, type ServicePoint, type ServicePoints } from './conflicts.js';
export { defaultPolicy, isByClient, isInTurn, policyOf } from './policy.js';
export { planService, type Planned, type PlanInput, type PlanState } from './plan.js';
export {
  replicasOf,
  sliceOwner,
  type Moved,
  type PortReplicas,
  type ServiceReplicas,
  type Surroundings,
} from './replicas.js';
export { ringOf } from './rings.js';
