/** A data centre in network namespaces: see lab.ts for what it can do, address-plan.ts for what is where. */
export { createLab, openLab, Lab, type PodSpec } from './lab.js';
export { Host, Router, Site } from './hosts.js';
export { NetworkNode } from './network-node.js';
export { Pod, type PodProcess, type PodSpawnOptions } from './pods.js';
export { establishedAt, isListening } from './listening.js';
export { Recorder, type PointReport, type RecordedPacket, type Recording } from './recorder.js';
export { type RecordPoint, type RecorderOptions } from './recorder.js';
export { auditPacket, auditRecording, packetLine, packetsTo } from './audit.js';
export { type PacketSelection, type Violation, type ViolationKind } from './audit.js';
export { tcpFlag, type Packet, type ProtocolName } from './packet.js';
export { canonicalAddress } from './ip-address.js';
export { labIds, type Assignment, type LabSpec } from './state.js';
export { removeLab, removeStaleLabs, type StaleRemoval } from './removal.js';
