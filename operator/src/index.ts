/** What the operator does, for its tests on a real API server. */
export { leaseName, startOperator, type Operator, type OperatorOptions } from './operator.js';
export { AuthorityKeeper } from './certificates/authority.js';
export { fieldManager, type Told } from './services/controller.js';
export { labelValue, serviceLabel } from './services/plan.js';
export { startServices, type Running, type ServiceRunnerOptions } from './services/runner.js';
export const operatorProgram = new URL('main.js', import.meta.url).pathname;
