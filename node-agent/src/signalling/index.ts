/** How agents reach each other: messages and images over HTTP/2 with mutual TLS. */
export { Credentials, type CredentialFiles, type Identity } from './credentials.js';
export {
  SignallingServer,
  defaultServerLimits,
  type ServerCounters,
  type ServerLimits,
  type ServerOptions,
} from './server.js';
export type { MessageHandler } from './message-route.js';
export { defaultImageLimits, type ImageLimits, type ImagesReceiver } from './images-route.js';
export {
  SignallingClient,
  defaultClientLimits,
  type ClientLimits,
  type ClientOptions,
  type ImagesOptions,
  type ImagesSent,
} from './client.js';
export { randomly, type Chances, type Interfere, type Mishap } from './interference.js';
export { messageKinds } from './codec.js';
export type { AnyKind, AnyMessage, AnyReply } from './kinds.js';
export type { NodeReport, ReplicaFlows, ReportMessage, ReportReply, SentReport } from './report.js';
export { seeded } from './seeded.js';
export { certificateFaults, type CertificateFault } from './identity.js';
export { decodeMessage, decodeReply, encodeMessage, encodeReply } from './codec.js';
