/** What the operator does, for its tests on a real API server. */
export { leaseName, startOperator, type Operator, type OperatorOptions } from './operator.js';
export { AuthorityKeeper } from './certificates/authority.js';
export { fieldManager } from './services/controller.js';
export type { Running } from './running.js';
export type { Told } from './told.js';
export { labelValue, serviceLabel } from './services/plan.js';
export { startServices, type ServiceRunnerOptions } from './services/runner.js';
export const operatorProgram = new URL('main.js', import.meta.url).pathname;
