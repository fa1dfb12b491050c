/** Made from crds/ by scripts/generate-crd-types.mjs. Do not edit. */
export const kindValues = ['Pod', 'VirtualMachineInstance'] as const;
export const moverValues = ['criu', 'external'] as const;
export const protocolValues = ['TCP', 'UDP'] as const;
export const localityValues = ['Prefer', 'Require', 'Ignore'] as const;
export const balanceValues = ['LeastLoad', 'RoundRobin', 'Hash'] as const;
export const affinityValues = ['None', 'Client'] as const;
export const ownReplicaValues = ['Prefer', 'Ignore'] as const;
export const whenEmptyValues = ['Fail', 'Wait'] as const;

/** What is to move, and where to. It never changes; make another ServalMigration instead. */
export interface ServalMigrationSpec {
  /** What is to move, in the same namespace. */
  workload: {
    /** Pod, or VirtualMachineInstance (KubeVirt's). */
    kind?: 'Pod' | 'VirtualMachineInstance';
    /** Its name. */
    name: string;
  };
  /** The ServalNode that it is to run on. Left out in Kubernetes, the scheduler chooses one that fits; directory mode has no scheduler. */
  targetNode?: string;
  /** What moves the workload itself. criu: processes of a pod. external: somebody else's mover, which calls the agent. Left out: what the workload asks for, else criu. */
  mover?: 'criu' | 'external';
  /** Not done after so long, it is taken back, where that is still possible. */
  deadlineSeconds?: number;
}

/** What is. Each field has one writer. The operator's: observedGeneration, phase, migration, sourceNode, targetNode, targetPod, mover, startedAt, finishedAt, conditions. The target's agent's: targetStep. The source's agent's: the rest. In directory mode the source's agent writes all. */
export interface ServalMigrationStatus {
  /** Which generation of the spec the rest is about. */
  observedGeneration?: number;
  /** How far it is. Pending, Preparing, Moving, Aborting or Finishing, then Succeeded, Failed or Aborted; in directory mode the steps of the source's agent. */
  phase?: string;
  /** How far the source's agent is in the protocol. From released on only the target may run the workload; retired and aborted are its ends. */
  sourceStep?: string;
  /** How far the target's agent is in the protocol. done and givenUp are its ends. */
  targetStep?: string;
  /** Names this attempt in agents' logs and messages, 16 hexadecimal digits. */
  migration?: string;
  /** Where the workload was. */
  sourceNode?: string;
  /** Where it goes. */
  targetNode?: string;
  /** The pod that takes it in. */
  targetPod?: string;
  /** What moves it. */
  mover?: string;
  /** Why it failed or was rolled back. */
  reason?: string;
  /** When it began. */
  startedAt?: string;
  /** When it ended, one way or the other. */
  finishedAt?: string;
  /** Phases on the migration's own clock; they may overlap. */
  timeline?: Array<{
    /** Its name. */
    name: string;
    /** From the start of the migration, milliseconds. */
    startMs: number;
    /** How long it took, milliseconds. */
    durationMs: number;
    /** Whether the workload stood still meanwhile. */
    frozen: boolean;
  }>;
  /** Flows that were to move. */
  flows?: number;
  /** Flows that did not survive, by reason. */
  lost?: Record<string, number>;
  /** How long the workload stood still, milliseconds. */
  freezeMs?: number;
  /** From the first RSYN to the last acknowledgement, milliseconds. */
  switchMs?: number;
  /** Packets that were sent again at the switch. */
  replayed?: number;
  /** Succeeded: Unknown while it runs. What went wrong is in message, in words. */
  conditions?: Array<{
    /** What it is about. */
    type: string;
    /** True, False, or Unknown while it runs. */
    status: 'True' | 'False' | 'Unknown';
    /** Which generation of the spec it is about. */
    observedGeneration?: number;
    /** Since when the status is what it is. */
    lastTransitionTime: string;
    /** One word in CamelCase, for programs. */
    reason: string;
    /** For people. */
    message: string;
  }>;
}

/** How the node is reached, and what is on it. */
export interface ServalNodeSpec {
  /** Host and port of its agent's signalling; an IPv6 address in brackets. */
  address: string;
  /** Addresses of the host itself. */
  hostAddresses: Array<string>;
  /** Ranges that its pods have their addresses from. */
  podCIDRs: Array<string>;
  /** As topology.kubernetes.io/zone says it. */
  zone?: string;
  /** As topology.kubernetes.io/region says it. */
  region?: string;
}

/** What its agent says of itself, but for the condition Ready, which the operator sets to Unknown when the agent has long been silent. */
export interface ServalNodeStatus {
  /** Which generation of the spec the rest is about. */
  observedGeneration?: number;
  /** Of the agent. */
  agentVersion?: string;
  /** As uname -r says it. */
  kernelVersion?: string;
  /** When the agent last said anything of this. It says nothing where nothing has changed. */
  lastSeen?: string;
  /** What can be done here, and why something can not. */
  capabilities?: Array<{
    /** What: datapath, services, criu, sandbox. */
    name: string;
    /** Whether it can be used. */
    available: boolean;
    /** Why not, and what to do. */
    message?: string;
  }>;
  /** Ready: its agent answers, and its data plane works. */
  conditions?: Array<{
    /** What it is about. */
    type: string;
    /** True, False, or Unknown while it runs. */
    status: 'True' | 'False' | 'Unknown';
    /** Which generation of the spec it is about. */
    observedGeneration?: number;
    /** Since when the status is what it is. */
    lastTransitionTime: string;
    /** One word in CamelCase, for programs. */
    reason: string;
    /** For people. */
    message: string;
  }>;
}

/** What is wanted of the service. */
export interface ServalServiceSpec {
  /** Labels of the pods that serve, in the same namespace. Left out, nobody chooses: EndpointSlices with the label kubernetes.io/service-name say who serves. */
  selector?: Record<string, string>;
  /** What DNS gives for its name. Left out in Kubernetes, where the Service gets its own; where it is given there, the Service asks for these, at most one of each IP family. In directory mode there is nobody to give one. */
  virtualIPs?: Array<string>;
  /** Where it is reached at the virtual IPs. */
  ports: Array<{
    /** As the EndpointSlices name it. May be left out where there is one port. */
    name?: string;
    /** Its number at the virtual IPs. */
    port: number;
    /** TCP or UDP. */
    protocol?: 'TCP' | 'UDP';
    /** Its number at the pods, or the name of a container's port (at most 15 characters). The same as port where it is left out. */
    targetPort?: number | string;
  }>;
  /** Prefer: the nearest ring (node, zone, region, everywhere), others as far as it is loaded beyond its share. Require: never outside of the zone. Ignore: all replicas alike. */
  locality?: 'Prefer' | 'Require' | 'Ignore';
  /** LeastLoad: weights follow the measured load. RoundRobin: in turn. Hash: by client, the same one as long as the replicas are the same. */
  balance?: 'LeastLoad' | 'RoundRobin' | 'Hash';
  /** Client: a client keeps its replica for as long as that takes connections. None: each connection is chosen for anew. */
  affinity?: 'None' | 'Client';
  /** Prefer: a pod that is a replica itself gets itself. Ignore: it is chosen for as any other client. */
  ownReplica?: 'Prefer' | 'Ignore';
  /** What happens when a replica does not answer. */
  failover?: {
    /** How many replicas one connect() tries; 1: no failover. */
    attempts?: number;
    /** How long a SYN waits for an answer, milliseconds. */
    synTimeoutMs?: number;
  };
  /** While there is no replica: connect() fails at once (Fail), or waits for one (Wait). */
  whenEmpty?: 'Fail' | 'Wait';
  /** The longest that a connect() waits for a replica, milliseconds. */
  maxDelayMs?: number;
}

/** What is. Each field is written by the operator alone. */
export interface ServalServiceStatus {
  /** Which generation of the spec the rest is about. */
  observedGeneration?: number;
  /** What clients name, as the Service of the same name has them. */
  virtualIPs?: Array<string>;
  /** How many addresses its EndpointSlices name. */
  replicas?: number;
  /** How many of them take new connections. */
  readyReplicas?: number;
  /** Where the replicas are. */
  zones?: Array<{
    /** Its name; empty for nodes without one. */
    zone: string;
    /** How many are there. */
    replicas: number;
    /** How many of those take new connections. */
    readyReplicas: number;
    /** The zone's share of all replicas that take connections, in thousandths; a client elsewhere gets one there so often where locality is Ignore. */
    weight?: number;
  }>;
  /** Ready: clients get replicas. What is wrong is in message, in words. */
  conditions?: Array<{
    /** What it is about. */
    type: string;
    /** True, False, or Unknown while it runs. */
    status: 'True' | 'False' | 'Unknown';
    /** Which generation of the spec it is about. */
    observedGeneration?: number;
    /** Since when the status is what it is. */
    lastTransitionTime: string;
    /** One word in CamelCase, for programs. */
    reason: string;
    /** For people. */
    message: string;
  }>;
}
