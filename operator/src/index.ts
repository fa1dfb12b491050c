/** What the operator does, for its tests on a real API server. */
export {
  fieldManager,
  ServiceController,
  type ServiceControllerDeps,
  type Told,
} from './services/controller.js';
export { labelValue, serviceLabel } from './services/plan.js';
export { runServices, type Running, type ServiceRunnerOptions } from './services/runner.js';
