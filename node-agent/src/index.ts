/** What the agent's parts offer to the lab, the demo and the benchmarks. */
export type * from './datapath/types.js';
export { EbpfDatapath, defaultObjectPath, type EbpfOptions } from './datapath/ebpf.js';
export { FakeDatapath } from './datapath/fake.js';
export { dropReasons } from './datapath/reasons.js';
export { canonicalAddress } from './datapath/address.js';
export { closeSockets, listFlows, tcpState, type SocketFlow } from './host/sockets.js';
export { detour, endDetour } from './host/detour.js';
export { prepareStack, restoreStack } from './host/moved-stack.js';
export { CriuMover, type RestoreTarget, type Workload } from './movers/criu.js';
export { moverReady } from './movers/criu-ready.js';
export { defaultCriuPath } from './movers/criu-process.js';
export type { Sandbox } from './agent/sandbox.js';
export {
  cgroupRoot,
  createCgroup,
  freezeCgroup,
  isPopulated,
  placeInCgroup,
  removeCgroup,
  thawCgroup,
} from './movers/cgroup.js';
export { transfer } from './movers/transfer.js';
export { native, type BpfMap, type BpfProgram } from './native.js';
/** For tests that speak to agents by hand. */
export type { Message, PeerFlow, TargetFlow } from './protocol/messages.js';
export { encodeMessage } from './signalling/codec.js';
export type { AnyMessage, NodeReport } from './signalling/index.js';
/** For the benchmarks, which run the programs one by one, and read what an agent has put into the kernel. */
export { loadPrograms } from './datapath/programs.js';
export { openMaps } from './datapath/pins.js';
export { salService, salServiceFlag } from './datapath/abi.generated.js';
export { endpointBytes, readEndpoint } from './datapath/services/encode.js';
