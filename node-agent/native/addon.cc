// SPDX-License-Identifier: Apache-2.0
//
// The node-gyp addon: mechanism over libbpf, netlink and raw sockets, no policy. ../src/native.ts is its typed face
// and says what each call promises.
//
//   addon                                    what is exported
//   error                                    NativeFailure, and the JavaScript Error made of it
//   arguments, descriptor, handle            checked arguments, owned descriptors, base of the classes
//   libbpf_log                               libbpf's words, the verifier's among them
//   bpf_object, bpf_map, bpf_program,
//   bpf_link, ring_buffer                    one class each; ring_memory: a ring buffer's records
//   flow_table, grace_period                 the memory-mapped flow table; the wait before a slot is used again
//   bpffs, probe, trim                       the bpf file system; what this kernel can do; memory given back
//   own_thread, netns_operations             work on a thread of its own; in another network namespace
//   link_attach, cgroup_attach               TCX links and clsact filters; links of a cgroup
//   netlink, socket_table, sock_diag,
//   conntrack, conntrack_table, address,
//   inject, sysctl                           sockets, connection tracking, raw packets, settings
#include <napi.h>

#include "bpf_link.h"
#include "bpf_map.h"
#include "bpf_object.h"
#include "bpf_program.h"
#include "bpffs.h"
#include "cgroup_attach.h"
#include "error.h"
#include "flow_table.h"
#include "grace_period.h"
#include "handle.h"
#include "libbpf_log.h"
#include "netns_operations.h"
#include "probe.h"
#include "ring_buffer.h"
#include "trim.h"

namespace {

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
void export_function(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<serval::guarded<function>>(env, name));
}

void define_classes(Napi::Env env) {
  auto* constructors = new serval::Constructors();
  env.SetInstanceData(constructors);
  serval::BpfObject::define(env, *constructors);
  serval::BpfMap::define(env, *constructors);
  serval::BpfProgram::define(env, *constructors);
  serval::BpfLink::define(env, *constructors);
  serval::RingBuffer::define(env, *constructors);
  serval::FlowTable::define(env, *constructors);
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  serval::LibbpfLog::silence();
  define_classes(env);
  export_function<serval::open_object>(env, exports, "openObject");
  export_function<serval::open_pinned_map>(env, exports, "openPinnedMap");
  export_function<serval::open_pinned_link>(env, exports, "openPinnedLink");
  export_function<serval::open_pinned_program>(env, exports, "openPinnedProgram");
  export_function<serval::ring_buffer>(env, exports, "ringBuffer");
  export_function<serval::flow_table>(env, exports, "flowTable");
  export_function<serval::is_bpffs>(env, exports, "isBpffs");
  export_function<serval::mount_bpffs>(env, exports, "mountBpffs");
  export_function<serval::unmount_bpffs>(env, exports, "unmountBpffs");
  export_function<serval::probe>(env, exports, "probe");
  export_function<serval::trim_memory>(env, exports, "trimMemory");
  export_function<serval::possible_cpus>(env, exports, "possibleCpus");
  export_function<serval::attach_cgroup>(env, exports, "attachCgroup");
  export_function<serval::grace_period>(env, exports, "gracePeriod");
  serval::register_netns_operations(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(serval, init)
